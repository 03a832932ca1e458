//! The JSON Schema of the files, from the same table of keys that the reader uses.

use crate::keys::{Key, Kind, SETTINGS, SOURCE, Section};
use serde_json::{Map, Value, json};

/// The JSON Schema (2020-12) of a source file, for editors.
pub fn json_schema() -> Value {
    root(&SOURCE, "A source of Tidewatch")
}

/// The JSON Schema (2020-12) of `tidewatch.toml`.
pub fn settings_json_schema() -> Value {
    root(&SETTINGS, "The settings of a Tidewatch project")
}

fn root(section: &Section, title: &str) -> Value {
    let mut schema = object(section);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(title);
    schema
}

fn object(section: &Section) -> Value {
    let known = || section.keys.iter().filter(|key| key.is_known());
    let properties: Map<String, Value> =
        known().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = known().filter(|key| key.required).map(|key| key.name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let mut schema = value(&key.kind);
    schema["description"] = json!(key.about);
    schema
}

fn value(kind: &Kind) -> Value {
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Count { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Rate => json!({ "type": "number", "exclusiveMinimum": 0 }),
        Kind::Amount => json!({ "type": "number", "minimum": 0 }),
        Kind::Duration | Kind::DurationOrZero => {
            json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|min|h|d|w) ?)+$" })
        }
        Kind::Size => json!({
            "type": ["string", "integer"],
            "pattern": "^[0-9]+ ?(B|KiB|MiB|GiB|TiB|kB|KB|MB|GB|TB)?$",
            "minimum": 1,
        }),
        // A date or time without quotes is one of TOML's own, which editors take for text.
        Kind::Date => json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" }),
        Kind::Time => json!({ "type": "string", "pattern": "^[0-9]{2}:[0-9]{2}(:[0-9]{2})?$" }),
        Kind::Scalar => json!({ "type": ["string", "number"] }),
        Kind::List(inner) => json!({ "type": "array", "items": value(inner) }),
        Kind::Section(section) => object(section),
        Kind::Named(inner) => json!({ "type": "object", "additionalProperties": value(inner) }),
        Kind::CountOr(section) => {
            json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, object(section)] })
        }
        Kind::Later => Value::Bool(false),
    }
}
