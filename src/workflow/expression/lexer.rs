//! Tokens of an expression.

use serde_json::Value;

use crate::workflow::bounds::cut;
use crate::workflow::path::Path;
use crate::workflow::template::{Hole, Template};

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Literal(Value),
    Text(Template),
    Hole(Hole),
    Path(Path),
    Word(&'static str),
    Symbol(&'static str),
}

impl Token {
    /// The token in a message.
    pub fn shown(&self) -> String {
        match self {
            Self::Literal(value) => cut(&value.to_string()),
            Self::Text(_) => "a string".to_owned(),
            Self::Hole(_) => "a template".to_owned(),
            Self::Path(path) => format!("\"{}\"", cut(&path.to_string())),
            Self::Word(text) | Self::Symbol(text) => format!("\"{text}\""),
        }
    }
}

/// Longer ones first: `<=` is not `<` and `=`.
const SYMBOLS: [&str; 19] = [
    "||", "&&", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "(", ")", "[", "]",
    ",",
];

/// The tokens of a text, each with the count of characters before it.
///
/// # Errors
/// What at which character is no token.
pub fn tokens(text: &str) -> Result<Vec<(Token, usize)>, String> {
    let mut tokens = Vec::new();
    let (mut rest, mut position) = (text, 0);
    loop {
        let next = rest.trim_start();
        position += rest[..rest.len() - next.len()].chars().count();
        if next.is_empty() {
            return Ok(tokens);
        }
        let (token, after) =
            token(next).map_err(|error| format!("{error} at character {}", position + 1))?;
        tokens.push((token, position));
        position += next[..next.len() - after.len()].chars().count();
        rest = after;
    }
}

fn token(text: &str) -> Result<(Token, &str), String> {
    if text.starts_with("{{") {
        let (hole, rest) = Hole::prefix(text).ok_or("the braces hold no template")?;
        return Ok((Token::Hole(hole), rest));
    }
    if let Some(quote @ ('\'' | '"')) = text.chars().next() {
        return string(text, quote);
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return number(text);
    }
    if let Some((path, rest)) = Path::prefix(text) {
        return Ok(match word(path.name()) {
            Some(token) => (token, &text[path.name().len()..]),
            None => (Token::Path(path), rest),
        });
    }
    let symbol = SYMBOLS.into_iter().find(|symbol| text.starts_with(symbol));
    let symbol = symbol
        .ok_or_else(|| format!("unexpected {:?}", text.chars().next().unwrap_or_default()))?;
    Ok((Token::Symbol(symbol), &text[symbol.len()..]))
}

fn word(name: &str) -> Option<Token> {
    Some(match name {
        "and" | "AND" => Token::Word("and"),
        "or" | "OR" => Token::Word("or"),
        "not" | "NOT" => Token::Word("not"),
        "in" => Token::Word("in"),
        "is" => Token::Word("is"),
        "true" | "True" => Token::Literal(Value::Bool(true)),
        "false" | "False" => Token::Literal(Value::Bool(false)),
        "null" | "None" | "none" => Token::Literal(Value::Null),
        _ => return None,
    })
}

/// Digits with a fraction and an exponent. Leading zeros are no JSON, and mean nothing.
fn number(text: &str) -> Result<(Token, &str), String> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let mut end = digits(text);
    if text[end..].starts_with('.') {
        match digits(&text[end + 1..]) {
            0 => return Err("a number must not end in a point".to_owned()),
            length => end += 1 + length,
        }
    }
    if text[end..].starts_with(['e', 'E']) {
        let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
        match digits(&text[end + 1 + sign..]) {
            0 => return Err("a number's exponent has no digits".to_owned()),
            length => end += 1 + sign + length,
        }
    }
    let (number, rest) = text.split_at(end);
    if rest.starts_with(|c: char| c.is_alphanumeric() || "._".contains(c)) {
        return Err(format!("{} is followed by what belongs to no number", cut(number)));
    }
    let whole = number.trim_start_matches('0');
    let json = if whole.starts_with(|c: char| c.is_ascii_digit()) {
        whole.to_owned()
    } else {
        format!("0{whole}")
    };
    let value = serde_json::from_str(&json).map_err(|_| format!("{} is no number", cut(number)))?;
    Ok((Token::Literal(value), rest))
}

/// A string. A backslash makes the next character stand for itself; quotes inside a template do
/// not end the string.
fn string(text: &str, quote: char) -> Result<(Token, &str), String> {
    let mut content = String::new();
    let mut rest = &text[1..];
    loop {
        if let Some((_, after)) = Hole::prefix(rest) {
            content.push_str(&rest[..rest.len() - after.len()]);
            rest = after;
            continue;
        }
        let mut characters = rest.chars();
        match characters.next() {
            Some('\\') => content.push(characters.next().ok_or("a string has no end")?),
            Some(end) if end == quote => break,
            Some(character) => content.push(character),
            None => return Err("a string has no end".to_owned()),
        }
        rest = characters.as_str();
    }
    let template = Template::parse(&content);
    let token = match template.is_literal() {
        true => Token::Literal(Value::String(content)),
        false => Token::Text(template),
    };
    Ok((token, &rest[1..]))
}
