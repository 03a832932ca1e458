//! From a spec to what the two passes need, once per source version.

use crate::record::key_hash;
use model::field::{ExtractSpec, FieldType, Format};
use model::path::{Comparison, Condition, Literal, Path, Step};

/// The most bytes one record may be allowed: offsets within a batch have 31 bits.
const RECORD_LIMIT_MAX: usize = 1 << 30;
const DEPTH_LIMIT_MAX: usize = 65_536;
const NAME_LIMIT_BYTES: usize = 4096;

/// A spec that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// There is no field.
    #[error("no field is declared: a record needs at least one")]
    NoFields,
    /// Two fields have one name.
    #[error("the field `{field}` is declared twice")]
    DuplicateField {
        /// The name.
        field: String,
    },
    /// A field's path has `[*]`.
    #[error(
        "the path `{path}` of the field `{field}` has `[*]`: a field is one value; put `[*]` into `records`"
    )]
    EachInField {
        /// The field.
        field: String,
        /// Its path.
        path: String,
    },
    /// The condition's path has `[*]`.
    #[error("the path `{path}` of `empty` has `[*]`: a condition looks at one value")]
    EachInCondition {
        /// The path.
        path: String,
    },
    /// A decimal type that does not exist.
    #[error(
        "the field `{field}` has type `{kind}`: a decimal has 1 to 38 digits, 0 to all of them behind the point"
    )]
    Decimal {
        /// The field.
        field: String,
        /// The type.
        kind: String,
    },
    /// A path step that is too long to be looked for.
    #[error(
        "a name in the path `{path}` has {found} bytes, at most {NAME_LIMIT_BYTES} are allowed"
    )]
    NameTooLong {
        /// The path, cut.
        path: String,
        /// Bytes found.
        found: usize,
    },
    /// A limit out of bounds.
    #[error("`{setting}` is {found}, allowed are 1 to {most}")]
    Limit {
        /// Which limit.
        setting: &'static str,
        /// What was found.
        found: usize,
        /// The most that is allowed.
        most: usize,
    },
}

/// Where the declared fields stand in a record: a tree of the steps of their paths.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// The fields that stand here.
    pub(crate) fields: Vec<usize>,
    /// The fields that stand below.
    pub(crate) below: Vec<usize>,
    /// Sorted by hash.
    pub(crate) members: Vec<Member>,
    /// Elements of an array.
    pub(crate) elements: Vec<(usize, usize)>,
    /// The path, for messages.
    pub(crate) path: String,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) hash: u64,
    pub(crate) name: Box<str>,
    pub(crate) node: usize,
}

impl Node {
    pub(crate) fn member(&self, hash: u64, name: &[u8]) -> Option<usize> {
        let first = self.members.partition_point(|member| member.hash < hash);
        self.members[first..]
            .iter()
            .take_while(|member| member.hash == hash)
            .find(|member| member.name.as_bytes() == name)
            .map(|member| member.node)
    }

    pub(crate) fn element(&self, index: usize) -> Option<usize> {
        self.elements.iter().find(|(at, _)| *at == index).map(|(_, node)| *node)
    }

    pub(crate) fn is_leaf(&self) -> bool {
        self.members.is_empty() && self.elements.is_empty()
    }
}

/// The tree; node 0 is the record.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
}

impl Tree {
    fn new(spec: &ExtractSpec) -> Self {
        let mut nodes = vec![Node { path: "$".to_owned(), ..Node::default() }];
        for (field, declared) in spec.fields.iter().enumerate() {
            let mut at = 0;
            for depth in 1..=declared.path.steps.len() {
                nodes[at].below.push(field);
                at = Self::child(&mut nodes, at, &declared.path.steps[..depth]);
            }
            nodes[at].fields.push(field);
        }
        for node in &mut nodes {
            node.members.sort_by_key(|member| member.hash);
        }
        Self { nodes }
    }

    fn child(nodes: &mut Vec<Node>, at: usize, steps: &[Step]) -> usize {
        let next = nodes.len();
        match steps.last() {
            Some(Step::Member(name)) => {
                let found = nodes[at].members.iter().find(|member| *member.name == **name);
                if let Some(member) = found {
                    return member.node;
                }
                let hash = key_hash(name.as_bytes());
                nodes[at].members.push(Member { hash, name: name.as_str().into(), node: next });
            }
            Some(Step::Index(index)) => {
                if let Some(node) = nodes[at].element(*index) {
                    return node;
                }
                nodes[at].elements.push((*index, next));
            }
            // `check` has refused `[*]`.
            Some(Step::Each) | None => return at,
        }
        nodes.push(Node { path: shown(steps), ..Node::default() });
        next
    }
}

/// The way to the records.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) steps: Vec<Step>,
    /// The first `[*]`.
    pub(crate) first_each: Option<usize>,
    /// With a last step other than `[*]`, the value there is the one record.
    pub(crate) single: bool,
    /// Whether a record is to be an array (`[`) or an object (`{`); 0 if it may be anything.
    pub(crate) shape: u8,
    pub(crate) empty: Option<Condition>,
    pub(crate) record_limit_bytes: u64,
    pub(crate) depth_limit: usize,
}

impl Route {
    fn new(spec: &ExtractSpec, tree: &Tree) -> Self {
        let root = &tree.nodes[0];
        let shape = match (root.members.is_empty(), root.elements.is_empty()) {
            (false, true) => b'{',
            (true, false) => b'[',
            _ => 0,
        };
        let steps = spec.records.steps.clone();
        Self {
            first_each: steps.iter().position(|step| *step == Step::Each),
            single: steps.last() != Some(&Step::Each),
            shape,
            empty: spec.empty.clone(),
            record_limit_bytes: spec.record_limit_bytes as u64,
            depth_limit: spec.depth_limit,
            steps,
        }
    }

    /// The first `depth` steps, in backticks.
    pub(crate) fn path(&self, depth: usize) -> String {
        format!("`{}`", shown(&self.steps[..depth.min(self.steps.len())]))
    }
}

pub(crate) fn shown(steps: &[Step]) -> String {
    Path { steps: steps.to_vec() }.to_string()
}

/// A condition as it is written, in backticks.
pub(crate) fn shown_condition(condition: &Condition) -> String {
    let sign = match condition.comparison {
        Comparison::Equal => "==",
        Comparison::NotEqual => "!=",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    };
    format!("`{} {sign} {}`", condition.path, shown_literal(&condition.literal))
}

pub(crate) fn shown_literal(literal: &Literal) -> String {
    match literal {
        Literal::Null => "null".to_owned(),
        Literal::Bool(value) => value.to_string(),
        Literal::Number(value) => value.to_string(),
        Literal::Text(value) => format!("'{}'", crate::excerpt::bare(value)),
    }
}

pub(crate) fn compile(spec: &ExtractSpec) -> Result<(Tree, Route), SpecError> {
    match spec.format {
        Format::Json => {}
    }
    check_limit("record_limit_bytes", spec.record_limit_bytes, RECORD_LIMIT_MAX)?;
    check_limit("depth_limit", spec.depth_limit, DEPTH_LIMIT_MAX)?;
    check_names(&spec.records)?;
    if spec.fields.is_empty() {
        return Err(SpecError::NoFields);
    }
    for (index, field) in spec.fields.iter().enumerate() {
        if spec.fields[..index].iter().any(|other| other.name == field.name) {
            return Err(SpecError::DuplicateField { field: field.name.clone() });
        }
        if field.path.steps.contains(&Step::Each) {
            let (field, path) = (field.name.clone(), field.path.to_string());
            return Err(SpecError::EachInField { field, path });
        }
        if let FieldType::Decimal { precision, scale } = field.kind
            && (!(1..=38).contains(&precision) || scale < 0 || scale as u8 > precision)
        {
            let kind = field.kind.to_string();
            return Err(SpecError::Decimal { field: field.name.clone(), kind });
        }
        check_names(&field.path)?;
    }
    if let Some(condition) = &spec.empty {
        if condition.path.steps.contains(&Step::Each) {
            return Err(SpecError::EachInCondition { path: condition.path.to_string() });
        }
        check_names(&condition.path)?;
    }
    let tree = Tree::new(spec);
    let route = Route::new(spec, &tree);
    Ok((tree, route))
}

fn check_limit(setting: &'static str, found: usize, most: usize) -> Result<(), SpecError> {
    if (1..=most).contains(&found) {
        Ok(())
    } else {
        Err(SpecError::Limit { setting, found, most })
    }
}

fn check_names(path: &Path) -> Result<(), SpecError> {
    for step in &path.steps {
        if let Step::Member(name) = step
            && name.len() > NAME_LIMIT_BYTES
        {
            let path = crate::excerpt::bare(&path.to_string());
            return Err(SpecError::NameTooLong { path, found: name.len() });
        }
    }
    Ok(())
}
