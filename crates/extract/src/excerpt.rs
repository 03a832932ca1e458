//! Foreign text made fit for a message: bounded, without control characters.

/// The most characters of a value in a message.
const VALUE_LIMIT: usize = 60;

/// A foreign value in backticks, cut and escaped.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", bare(text))
}

/// A foreign name without backticks, cut and escaped.
pub(crate) fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(4 * VALUE_LIMIT));
    for (count, character) in text.chars().enumerate() {
        if count == VALUE_LIMIT {
            out.push('…');
            break;
        }
        if character == '"' || character == '\'' {
            out.push(character);
        } else {
            out.extend(character.escape_debug());
        }
    }
    out
}

/// A list of foreign names that keeps the first few and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct Names {
    kept: Vec<u8>,
    ends: Vec<usize>,
    total: u64,
}

impl Names {
    const LIMIT: usize = 12;
    const BYTES_LIMIT: usize = 256;

    pub(crate) fn clear(&mut self) {
        self.kept.clear();
        self.ends.clear();
        self.total = 0;
    }

    /// Adds a name as it stands between the quotes of the document.
    pub(crate) fn push(&mut self, raw: &[u8]) {
        self.total += 1;
        if self.ends.len() < Self::LIMIT {
            self.kept.extend_from_slice(&raw[..raw.len().min(Self::BYTES_LIMIT)]);
            self.ends.push(self.kept.len());
        }
    }
}

impl std::fmt::Display for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.total == 0 {
            return f.write_str("nothing");
        }
        let mut start = 0;
        for (index, &end) in self.ends.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let name = String::from_utf8_lossy(&self.kept[start..end]);
            write!(f, "{separator}{}", bare(&name))?;
            start = end;
        }
        match self.total - self.ends.len() as u64 {
            0 => Ok(()),
            rest => write!(f, " and {rest} more"),
        }
    }
}

/// What a value is, by its first byte, with its article.
pub(crate) fn kind_of(first: u8) -> &'static str {
    match first {
        b'{' => "an object",
        b'[' => "an array",
        b'"' => "a text",
        b't' | b'f' => "a boolean",
        b'n' => "null",
        _ => "a number",
    }
}
