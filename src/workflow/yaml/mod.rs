//! YAML documents as JSON, read as PyYAML's `safe_load` reads them: YAML 1.1 with its plain scalars
//! (`yes`, `017`, `1:30`, but not `1e3`), merge keys and dates.
//!
//! The parser's events are taken one by one; only what they mean is decided here.

mod scalar;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Value};

use super::bounds::{Budget, MAX_DEPTH, MAX_DOCUMENT, MAX_NODES, cut};
use scalar::Kind;

/// Reads the one document of a text. A text that is JSON is read as JSON, whose numbers are numbers
/// however they are written. Dates become ISO 8601 strings, keys that are no strings their JSON
/// text. An empty text is null.
///
/// # Errors
/// The rule and, for YAML, the line: what is no YAML, a second document, aliases that produce
/// more than `MAX_NODES` values or bounds-breaking sizes, tags and values that JSON does not have.
pub fn to_json(text: &str) -> Result<Value, String> {
    if text.len() > MAX_DOCUMENT {
        return Err(format!("the document must have at most {MAX_DOCUMENT} bytes"));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with(['{', '['])
        && let Ok(value) = serde_json::from_str(text)
    {
        let rule = |rule| format!("the document {rule}");
        return Budget::default().charge(&value, 0).map_err(rule).map(|()| value);
    }
    if let Some((position, character)) = text.char_indices().find(|(_, c)| !is_printable(*c)) {
        let line = text[..position].lines().count().max(1);
        return Err(format!("line {line} holds the character {character:?}, it must be escaped"));
    }
    Reader::new(text).document()
}

fn is_printable(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => true,
        // Line breaks to YAML 1.1 and none to YAML 1.2: as they stand they would read differently.
        '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}' => false,
        other => !other.is_control(),
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    line: usize,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    budget: Budget,
    /// For the copies that anchors keep: anchors inside anchors would copy the same values again.
    kept: Budget,
}

/// A value that aliases repeat, and of how many values it consists.
struct Anchored {
    value: Value,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            parser: Parser::new_from_str(text),
            line: 1,
            anchors: HashMap::new(),
            nodes: 0,
            budget: Budget::default(),
            kept: Budget::default(),
        }
    }

    fn wrong(&self, rule: impl std::fmt::Display) -> String {
        format!("line {}: {rule}", self.line)
    }

    fn next(&mut self) -> Result<Event<'a>, String> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                self.line = line(span);
                Ok(event)
            }
            Some(Err(error)) => Err(format!("line {}: {}", error.marker().line(), error.info())),
            None => Ok(Event::StreamEnd),
        }
    }

    fn document(&mut self) -> Result<Value, String> {
        let mut document = None;
        loop {
            match self.next()? {
                Event::StreamEnd => return Ok(document.unwrap_or(Value::Null)),
                Event::DocumentStart(_) if document.is_some() => {
                    return Err(self.wrong("a second document begins, the text must hold one"));
                }
                Event::DocumentStart(_) => {
                    let event = self.next()?;
                    document = Some(self.node(event, 0)?);
                }
                _ => {}
            }
        }
    }

    /// Reads the value that an event begins, which stands `depth` levels deep.
    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(self.wrong(format!("more than {MAX_DEPTH} levels of nesting")));
        }
        let before = self.nodes;
        self.count(1)?;
        let (value, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, depth),
            Event::Scalar(text, style, anchor, tag) => {
                self.take(text.len() + 2)?;
                (self.scalar(&text, style, tag.as_deref())?, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq")?;
                (self.sequence(depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "map")?;
                (self.mapping(depth)?, anchor)
            }
            _ => return Err(self.wrong("a value is missing")),
        };
        if anchor > 0 {
            let kept = self.kept.charge(&value, depth);
            kept.map_err(|rule| self.wrong(format!("anchoring values {rule}")))?;
            let anchored = Anchored { value: value.clone(), nodes: self.nodes - before };
            self.anchors.insert(anchor, anchored);
        }
        Ok(value)
    }

    fn count(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(self.wrong(format!("the document has more than {MAX_NODES} values")));
        }
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Result<(), String> {
        let taken = self.budget.take(bytes);
        taken.map_err(|rule| self.wrong(format!("the document {rule}")))
    }

    fn alias(&mut self, anchor: usize, depth: usize) -> Result<Value, String> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(self.wrong("an alias refers to a value that contains it"));
        };
        self.count(anchored.nodes)?;
        // Borrowed again: counting needs the reader.
        let Some(anchored) = self.anchors.get(&anchor) else { return Ok(Value::Null) };
        let charged = self.budget.charge(&anchored.value, depth);
        let value = anchored.value.clone();
        charged.map_err(|rule| self.wrong(format!("the document {rule}"))).map(|()| value)
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, String> {
        let mut elements = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::Array(elements)),
                event => elements.push(self.node(event, depth + 1)?),
            }
        }
    }

    /// A key's last value counts; merged ones stand back behind the mapping's own, and later merges
    /// behind earlier ones.
    fn mapping(&mut self, depth: usize) -> Result<Value, String> {
        let mut members = Map::new();
        let mut merged = Vec::new();
        loop {
            let event = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let merge = is_merge(&event);
            let key = if merge { None } else { Some(self.key(event, depth)?) };
            let event = self.next()?;
            let value = self.node(event, depth + 1)?;
            match key {
                Some(key) => drop(members.insert(key, value)),
                None => merged.push(value),
            }
        }
        for value in merged {
            self.merge(&mut members, value)?;
        }
        Ok(Value::Object(members))
    }

    fn merge(&self, members: &mut Map<String, Value>, value: Value) -> Result<(), String> {
        let sources = match value {
            Value::Array(sources) => sources,
            source => vec![source],
        };
        for source in sources {
            let Value::Object(source) = source else {
                return Err(self.wrong("\"<<\" must have a mapping or a list of mappings"));
            };
            for (key, member) in source {
                members.entry(key).or_insert(member);
            }
        }
        Ok(())
    }

    fn key(&mut self, event: Event<'a>, depth: usize) -> Result<String, String> {
        if let Event::Scalar(text, ScalarStyle::Plain, _, None) = &event
            && text == "="
        {
            return Ok("=".to_owned());
        }
        match self.node(event, depth + 1)? {
            Value::String(key) => Ok(key),
            Value::Array(_) | Value::Object(_) => {
                Err(self.wrong("a key must be a scalar, not a list or a mapping"))
            }
            other => Ok(other.to_string()),
        }
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
        let wrong = |rule: String| self.wrong(format!("\"{}\" {rule}", cut(text)));
        let tag = tag.map(full_name);
        match tag.as_deref() {
            None if style == ScalarStyle::Plain => scalar::plain(text).map_err(wrong),
            None => Ok(Value::String(text.to_owned())),
            // "!" makes even a quoted scalar read like a plain one.
            Some("!") => scalar::plain(text).map_err(wrong),
            Some(tag) => {
                let kind = tag.strip_prefix(CORE).and_then(Kind::of);
                let kind = kind.ok_or_else(|| self.unknown_tag(tag))?;
                scalar::tagged(kind, text).map_err(wrong)
            }
        }
    }

    fn check_tag(&self, tag: Option<&Tag>, expected: &str) -> Result<(), String> {
        match tag.map(full_name) {
            None => Ok(()),
            Some(tag) if tag == "!" || tag.strip_prefix(CORE) == Some(expected) => Ok(()),
            Some(tag) => Err(self.unknown_tag(&tag)),
        }
    }

    fn unknown_tag(&self, tag: &str) -> String {
        let tag = match tag.strip_prefix(CORE) {
            Some(name) => format!("!!{name}"),
            None => tag.to_owned(),
        };
        self.wrong(format!("the tag \"{}\" does not make a JSON value here", cut(&tag)))
    }
}

/// The prefix that `!!` stands for.
const CORE: &str = "tag:yaml.org,2002:";

fn full_name(tag: &Tag) -> String {
    format!("{}{}", tag.handle, tag.suffix)
}

fn is_merge(event: &Event) -> bool {
    match event {
        Event::Scalar(text, style, _, None) => text == "<<" && *style == ScalarStyle::Plain,
        Event::Scalar(_, _, _, Some(tag)) => full_name(tag).strip_prefix(CORE) == Some("merge"),
        _ => false,
    }
}

fn line(span: Span) -> usize {
    span.start.line()
}
