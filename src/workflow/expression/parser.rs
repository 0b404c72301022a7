//! The grammar of HIGHWAY 8, by recursive descent.

use super::lexer::{self, Token};
use super::{Comparison, Node};
use crate::workflow::bounds::{MAX_DEPTH, MAX_EXPRESSION, cut};
use crate::workflow::template::Hole;

pub fn parse(text: &str) -> Result<Node, String> {
    if text.len() > MAX_EXPRESSION {
        let rule = format!("must have at most {MAX_EXPRESSION} bytes, it has {}", text.len());
        return Err(format!("expression {} {rule}", cut(text)));
    }
    let wrong = |error: String| format!("expression {} is wrong: {error}", cut(text));
    let tokens = lexer::tokens(text).map_err(wrong)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0 };
    let root = parser.or().map_err(wrong)?;
    match parser.tokens.get(parser.at) {
        None => Ok(root),
        Some(_) => Err(wrong(parser.unexpected("an operator or the end"))),
    }
}

struct Parser<'a> {
    tokens: &'a [(Token, usize)],
    at: usize,
    depth: usize,
}

const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<", Comparison::Less),
    ("<=", Comparison::LessOrEqual),
    (">", Comparison::Greater),
    (">=", Comparison::GreaterOrEqual),
];

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn unexpected(&self, expected: &str) -> String {
        match self.tokens.get(self.at) {
            Some((token, position)) => {
                let found = token.shown();
                format!("expected {expected} but found {found} at character {}", position + 1)
            }
            None => format!("expected {expected} but it ends"),
        }
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(found)) if *found == symbol);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(found)) if *found == word);
        self.at += usize::from(found);
        found
    }

    /// Goes one level deeper for what stands inside something.
    fn nested(&mut self, inner: fn(&mut Self) -> Result<Node, String>) -> Result<Node, String> {
        if self.depth == MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
        }
        self.depth += 1;
        let node = inner(self);
        self.depth -= 1;
        node
    }

    fn or(&mut self) -> Result<Node, String> {
        let mut nodes = vec![self.and()?];
        while self.word("or") || self.symbol("||") {
            nodes.push(self.and()?);
        }
        Ok(alone(nodes, Node::Or))
    }

    fn and(&mut self) -> Result<Node, String> {
        let mut nodes = vec![self.not()?];
        while self.word("and") || self.symbol("&&") {
            nodes.push(self.not()?);
        }
        Ok(alone(nodes, Node::And))
    }

    fn not(&mut self) -> Result<Node, String> {
        if self.word("not") || self.symbol("!") {
            return self.nested(Self::not).map(|node| Node::Not(Box::new(node)));
        }
        let left = self.sum()?;
        let Some(comparison) = self.comparison()? else { return Ok(left) };
        let right = self.sum()?;
        if self.comparison()?.is_some() {
            return Err("comparisons cannot be chained, join them with \"and\"".to_owned());
        }
        Ok(Node::Compare(Box::new(left), comparison, Box::new(right)))
    }

    fn comparison(&mut self) -> Result<Option<Comparison>, String> {
        for (symbol, comparison) in COMPARISONS {
            if self.symbol(symbol) {
                return Ok(Some(comparison));
            }
        }
        Ok(if self.word("in") {
            Some(Comparison::In)
        } else if self.word("is") {
            Some(if self.word("not") { Comparison::NotEqual } else { Comparison::Equal })
        } else if self.word("not") {
            match self.word("in") {
                true => Some(Comparison::NotIn),
                false => return Err(self.unexpected("\"in\" after \"not\"")),
            }
        } else {
            None
        })
    }

    fn sum(&mut self) -> Result<Node, String> {
        self.arithmetic(Self::product, &[("+", '+'), ("-", '-')])
    }

    fn product(&mut self) -> Result<Node, String> {
        self.arithmetic(Self::unary, &[("*", '*'), ("/", '/'), ("%", '%')])
    }

    fn arithmetic(
        &mut self,
        operand: fn(&mut Self) -> Result<Node, String>,
        operators: &[(&str, char)],
    ) -> Result<Node, String> {
        let first = operand(self)?;
        let mut rest = Vec::new();
        while let Some((_, operator)) = operators.iter().find(|(symbol, _)| self.symbol(symbol)) {
            rest.push((*operator, operand(self)?));
        }
        Ok(if rest.is_empty() { first } else { Node::Arithmetic(Box::new(first), rest) })
    }

    fn unary(&mut self) -> Result<Node, String> {
        for (symbol, sign) in [("-", '-'), ("+", '+')] {
            if self.symbol(symbol) {
                return self.nested(Self::unary).map(|node| Node::Sign(sign, Box::new(node)));
            }
        }
        self.atom()
    }

    fn atom(&mut self) -> Result<Node, String> {
        if self.symbol("(") {
            let node = self.nested(Self::or)?;
            return self.close(")", node);
        }
        if self.symbol("[") {
            let node = self.nested(Self::list)?;
            return self.close("]", node);
        }
        let node = match self.peek() {
            Some(Token::Literal(value)) => Node::Literal(value.clone()),
            Some(Token::Text(template)) => Node::Text(template.clone()),
            Some(Token::Hole(hole)) => Node::Hole(hole.clone()),
            Some(Token::Path(path)) => Node::Hole(Hole::Path { path: path.clone(), default: None }),
            _ => return Err(self.unexpected("a value")),
        };
        let len = matches!(self.peek(), Some(Token::Path(path)) if path.to_string() == "len");
        self.at += 1;
        if len && self.symbol("(") {
            let node = self.nested(Self::or)?;
            return self.close(")", Node::Len(Box::new(node)));
        }
        Ok(node)
    }

    fn list(&mut self) -> Result<Node, String> {
        let mut elements = Vec::new();
        if matches!(self.peek(), Some(Token::Symbol("]"))) {
            return Ok(Node::List(elements));
        }
        elements.push(self.or()?);
        while self.symbol(",") {
            elements.push(self.or()?);
        }
        Ok(Node::List(elements))
    }

    fn close(&mut self, symbol: &str, node: Node) -> Result<Node, String> {
        if self.symbol(symbol) { Ok(node) } else { Err(self.unexpected(&format!("\"{symbol}\""))) }
    }
}

/// One operand stands for itself.
fn alone(mut nodes: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        Some(last) => {
            nodes.push(last);
            join(nodes)
        }
        None => join(nodes),
    }
}
