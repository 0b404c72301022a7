//! YAML documents as JSON, read as PyYAML's `safe_load` reads them: YAML 1.1 with its plain scalars
//! (`yes`, `017`, `1:30`, but not `1e3`), merge keys and dates.
//!
//! The parser's events are taken one by one; only what they mean is decided here. What comes of
//! them is JSON text, which takes a tenth of the memory of a tree.

mod input;
mod scalar;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use saphyr_parser::{BufferedInput, Event, Parser, ScalarStyle, Span, Tag};
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::bounds::{Check, MAX_DEPTH, MAX_DOCUMENT, cut};
use super::document::{check_size, too_large};
use crate::error::{Error, Result};
use crate::json;
use input::{Source, Text};
use scalar::Kind;

/// Bytes of JSON that a document may become: quotes and commas make it longer than the YAML.
const MAX_JSON: usize = 2 * MAX_DOCUMENT;

/// The JSON text of the one document of a text. A text that is JSON stays what it is, whose numbers
/// are numbers however they are written. Dates become ISO 8601 strings, keys that are no strings
/// their JSON text. An empty text is null. A key may stand twice in an object: the last one counts.
///
/// # Errors
/// 22023 with the rule and, for YAML, the line: what is no YAML, a second document, tags and values
/// that JSON does not have, more than `MAX_DEPTH` levels. 54000 for more than `MAX_DOCUMENT` bytes
/// or `bounds::MAX_NODES` values, aliases included. What `check` says, which is asked all along.
pub fn to_json(text: &str, check: Check) -> Result<String> {
    check_size(text.len(), 0)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<IgnoredAny>(text).is_ok()
    {
        return match json::levels(text) <= MAX_DEPTH {
            true => Ok(text.to_owned()),
            false => Err(invalid(format!("the document {}", json::too_deep(MAX_DEPTH)))),
        };
    }
    if let Some((position, character)) = text.char_indices().find(|(_, c)| !is_printable(*c)) {
        let line = text[..position].lines().count().max(1);
        let rule = format!("holds the character {character:?}, it must be escaped");
        return Err(invalid(format!("line {line} {rule}")));
    }
    let source = Source::new(check);
    Reader::new(text, &source).document()
}

/// The error of a text that breaks a rule.
fn invalid(rule: String) -> Error {
    Error::invalid("p_definition", rule)
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
    parser: Parser<'a, BufferedInput<Text<'a>>>,
    source: &'a Source<'a>,
    line: usize,
    /// The JSON so far.
    out: String,
    nodes: usize,
    anchors: HashMap<usize, Anchored>,
    /// Bytes that anchors keep: those inside others keep the same text again.
    kept: usize,
}

/// JSON that aliases repeat, of how many values and levels it consists.
#[derive(Clone)]
struct Anchored {
    json: std::rc::Rc<str>,
    nodes: usize,
    levels: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, source: &'a Source<'a>) -> Self {
        Self {
            parser: Parser::new_from_iter(Text::new(text, source)),
            source,
            line: 1,
            out: String::new(),
            nodes: 0,
            anchors: HashMap::new(),
            kept: 0,
        }
    }

    fn wrong(&self, rule: impl std::fmt::Display) -> Error {
        invalid(format!("line {}: {rule}", self.line))
    }

    fn next(&mut self) -> Result<Event<'a>> {
        let event = self.parser.next_event();
        self.source.taken()?;
        match event {
            Some(Ok((event, span))) => {
                self.line = line(span);
                Ok(event)
            }
            Some(Err(error)) => {
                let (line, rule) = (error.marker().line(), cut(error.info()));
                Err(invalid(format!("line {line}: {rule}")))
            }
            None => Ok(Event::StreamEnd),
        }
    }

    fn document(mut self) -> Result<String> {
        let mut found = false;
        loop {
            match self.next()? {
                Event::StreamEnd if found => return Ok(self.out),
                Event::StreamEnd => return Ok("null".to_owned()),
                Event::DocumentStart(_) if found => {
                    return Err(self.wrong("a second document begins, the text must hold one"));
                }
                Event::DocumentStart(_) => {
                    let event = self.next()?;
                    self.node(event, 0)?;
                    found = true;
                }
                _ => {}
            }
        }
    }

    /// Writes the value that an event begins, which stands `depth` levels deep.
    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<()> {
        let (before, start) = (self.nodes, self.out.len());
        let anchor = match event {
            Event::Alias(anchor) => return self.alias(anchor, depth),
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1)?;
                let value = self.scalar(&text, style, tag.as_deref())?;
                self.write(&value.to_string())?;
                anchor
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq")?;
                self.deeper(depth)?;
                self.sequence(depth)?;
                anchor
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "map")?;
                self.deeper(depth)?;
                self.mapping(depth)?;
                anchor
            }
            _ => return Err(self.wrong("a value is missing")),
        };
        self.keep(anchor, start, self.nodes - before)
    }

    /// Remembers what was written from `start` on, if it has an anchor.
    fn keep(&mut self, anchor: usize, start: usize, nodes: usize) -> Result<()> {
        if anchor == 0 {
            return Ok(());
        }
        let json = &self.out[start..];
        self.kept += json.len();
        if self.kept > MAX_JSON {
            return Err(too_large(MAX_JSON, "bytes with anchors"));
        }
        let anchored = Anchored { json: json.into(), nodes, levels: json::levels(json) };
        self.anchors.insert(anchor, anchored);
        Ok(())
    }

    /// Counts a list or a mapping that stands `depth` levels deep.
    fn deeper(&mut self, depth: usize) -> Result<()> {
        match depth < MAX_DEPTH {
            true => self.count(1),
            false => Err(self.wrong(format!("more than {MAX_DEPTH} levels of nesting"))),
        }
    }

    fn count(&mut self, nodes: usize) -> Result<()> {
        self.nodes = self.nodes.saturating_add(nodes);
        check_size(0, self.nodes)
    }

    fn write(&mut self, json: &str) -> Result<()> {
        if self.out.len() + json.len() > MAX_JSON {
            return Err(too_large(MAX_DOCUMENT, "bytes, those that aliases repeat included"));
        }
        self.out.push_str(json);
        Ok(())
    }

    fn alias(&mut self, anchor: usize, depth: usize) -> Result<()> {
        let Some(anchored) = self.anchors.get(&anchor).cloned() else {
            return Err(self.wrong("an alias refers to a value that contains it"));
        };
        if depth + anchored.levels > MAX_DEPTH {
            return Err(self.wrong(format!("more than {MAX_DEPTH} levels of nesting")));
        }
        self.count(anchored.nodes)?;
        self.write(&anchored.json)
    }

    fn sequence(&mut self, depth: usize) -> Result<()> {
        self.write("[")?;
        let start = self.out.len();
        loop {
            match self.next()? {
                Event::SequenceEnd => return self.write("]"),
                event => {
                    self.separate(start)?;
                    self.node(event, depth + 1)?;
                }
            }
        }
    }

    /// Sets an element or a member apart from the one before it, if there is one since `start`.
    fn separate(&mut self, start: usize) -> Result<()> {
        if self.out.len() > start { self.write(",") } else { Ok(()) }
    }

    /// A key's last value counts; merged ones stand back behind the mapping's own, and later merges
    /// behind earlier ones.
    fn mapping(&mut self, depth: usize) -> Result<()> {
        self.write("{")?;
        let start = self.out.len();
        let mut merged = Vec::new();
        loop {
            let event = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            if is_merge(&event) {
                let (event, at) = (self.next()?, self.out.len());
                self.node(event, depth + 1)?;
                merged.push(self.out.split_off(at));
                continue;
            }
            self.separate(start)?;
            let key = self.key(event)?;
            self.write(&Value::String(key).to_string())?;
            self.write(":")?;
            let event = self.next()?;
            self.node(event, depth + 1)?;
        }
        if !merged.is_empty() {
            self.merge(start, &merged)?;
        }
        self.write("}")
    }

    /// Puts merged members before the mapping's own, and later ones before earlier ones: the last
    /// of a key counts.
    fn merge(&mut self, start: usize, merged: &[String]) -> Result<()> {
        let own = self.out.split_off(start);
        let mut sources: Vec<&str> = Vec::new();
        for value in merged {
            match serde_json::from_str::<Vec<&RawValue>>(value) {
                Ok(list) => sources.extend(list.into_iter().map(RawValue::get)),
                Err(_) => sources.push(value),
            }
        }
        for source in sources.into_iter().rev() {
            let Some(members) = source.strip_prefix('{').and_then(|s| s.strip_suffix('}')) else {
                return Err(self.wrong("\"<<\" must have a mapping or a list of mappings"));
            };
            if !members.is_empty() {
                self.separate(start)?;
                self.write(members)?;
            }
        }
        if !own.is_empty() {
            self.separate(start)?;
            self.write(&own)?;
        }
        Ok(())
    }

    /// A key is not counted as a value.
    fn key(&mut self, event: Event<'a>) -> Result<String> {
        let value = match event {
            Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "=" => {
                return Ok("=".to_owned());
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(&text, style, tag.as_deref())?;
                let start = self.out.len();
                self.write(&value.to_string())?;
                self.keep(anchor, start, 1)?;
                self.out.truncate(start);
                value
            }
            Event::Alias(anchor) => {
                let json = self.anchors.get(&anchor).map(|anchored| &*anchored.json);
                json.and_then(|json| serde_json::from_str(json).ok())
                    .unwrap_or(Value::Array(vec![]))
            }
            _ => Value::Array(Vec::new()),
        };
        match value {
            Value::String(key) => Ok(key),
            Value::Array(_) | Value::Object(_) => {
                Err(self.wrong("a key must be a scalar, not a list or a mapping"))
            }
            other => Ok(other.to_string()),
        }
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value> {
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

    fn check_tag(&self, tag: Option<&Tag>, expected: &str) -> Result<()> {
        match tag.map(full_name) {
            None => Ok(()),
            Some(tag) if tag == "!" || tag.strip_prefix(CORE) == Some(expected) => Ok(()),
            Some(tag) => Err(self.unknown_tag(&tag)),
        }
    }

    fn unknown_tag(&self, tag: &str) -> Error {
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
