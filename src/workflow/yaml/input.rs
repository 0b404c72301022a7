//! The text as the parser takes it: a character at a time, no more than it may hold at once.
//!
//! Whether a flow collection (`[...]`, `{...}`) is a key is known only behind its end, and the
//! parser keeps all tokens of it until then, some 110 bytes each. Between two of its events nobody
//! else could stop it.

use std::cell::{Cell, RefCell};

use crate::error::{Error, Result};
use crate::workflow::bounds::Check;

/// Tokens that the parser may come to between two events: some 30 MB.
const MAX_TOKENS: usize = 250_000;

/// Characters between two questions whether to go on.
const ASKS_EACH: usize = 4096;

/// What the reader and the parser's input share.
pub struct Source<'c> {
    check: Check<'c>,
    /// Tokens since the last event, as far as marks tell; more in long texts with many of them.
    tokens: Cell<usize>,
    /// Why the text ended early.
    stopped: RefCell<Option<Error>>,
}

impl<'c> Source<'c> {
    pub fn new(check: Check<'c>) -> Self {
        Self { check, tokens: Cell::new(0), stopped: RefCell::new(None) }
    }

    /// The parser has given an event.
    ///
    /// # Errors
    /// What ended the text before its end.
    pub fn taken(&self) -> Result<()> {
        self.tokens.set(0);
        self.stopped.take().map_or(Ok(()), Err)
    }

    fn read(&self, character: char, place: usize) -> Result<()> {
        if place.is_multiple_of(ASKS_EACH) {
            (self.check)()?;
        }
        // In `a: b,` a colon stands for three tokens and a comma for two.
        let tokens = match character {
            ':' => 3,
            ',' => 2,
            '[' | ']' | '{' | '}' => 1,
            _ => return Ok(()),
        };
        self.tokens.set(self.tokens.get() + tokens);
        match self.tokens.get() <= MAX_TOKENS {
            true => Ok(()),
            false => Err(Error::Limit {
                what: "one flow collection or text of the document".to_owned(),
                rule: format!("must have at most {MAX_TOKENS} tokens, or be JSON"),
            }),
        }
    }
}

/// The characters of a text.
pub struct Text<'a> {
    characters: std::str::Chars<'a>,
    place: usize,
    source: &'a Source<'a>,
}

impl<'a> Text<'a> {
    pub fn new(text: &'a str, source: &'a Source<'a>) -> Self {
        Self { characters: text.chars(), place: 0, source }
    }
}

impl Iterator for Text<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let character = self.characters.next()?;
        self.place += 1;
        if let Err(error) = self.source.read(character, self.place) {
            self.source.stopped.replace(Some(error));
            self.characters = "".chars();
            return None;
        }
        Some(character)
    }
}
