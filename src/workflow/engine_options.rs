//! Options of a step for the engine: `metadata.absurd` (HIGHWAY 14.2).

use serde_json::{Map, Value};

use super::bounds::{cut, shown};
use super::template::Tree;

/// What `metadata.absurd` of a step says.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Of a join: its inputs that have not ended when it is decided are cancelled.
    pub cancel_losers: Option<Tree>,
}

impl EngineOptions {
    /// Reads the options of a step; `is_join` says whether it is one.
    ///
    /// # Errors
    /// The option, its value and the rule that it breaks.
    pub fn parse(metadata: &Map<String, Value>, is_join: bool) -> Result<Self, String> {
        let mut options = Self::default();
        let members = match metadata.get("absurd") {
            None => return Ok(options),
            Some(Value::Object(members)) => members,
            Some(other) => {
                return Err(format!("metadata.absurd {} must be an object", shown(other)));
            }
        };
        for (name, value) in members {
            match name.as_str() {
                "cancel_losers" => {
                    let wrong = |rule: &str| {
                        Err(format!("metadata.absurd.cancel_losers {} {rule}", shown(value)))
                    };
                    let tree = Tree::parse(value)
                        .map_err(|rule| format!("metadata.absurd.cancel_losers {rule}"))?;
                    if !value.is_boolean() && (!value.is_string() || tree.is_literal()) {
                        return wrong("must be true, false or a template");
                    }
                    if !is_join {
                        return wrong("is an option of joins");
                    }
                    options.cancel_losers = Some(tree);
                }
                other => {
                    let known = "; the engine's options are cancel_losers";
                    return Err(format!("metadata.absurd.{} is unknown{known}", cut(other)));
                }
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(options: Value, is_join: bool) -> Result<EngineOptions, String> {
        let Value::Object(metadata) = json!({"absurd": options, "owner": {"any": "thing"}}) else {
            unreachable!()
        };
        EngineOptions::parse(&metadata, is_join)
    }

    #[test]
    fn options_are_read() {
        assert!(parse(json!({}), false).unwrap().cancel_losers.is_none());
        for value in [json!(true), json!(false), json!("{{first_wins}}")] {
            assert!(parse(json!({"cancel_losers": value}), true).unwrap().cancel_losers.is_some());
        }
    }

    #[test]
    fn wrong_options_are_refused() {
        for (options, is_join, message) in [
            (json!([]), true, "metadata.absurd [] must be an object"),
            (
                json!({"cancel_loser": true}),
                true,
                "metadata.absurd.cancel_loser is unknown; the engine's options are cancel_losers",
            ),
            (
                json!({"cancel_losers": "yes"}),
                true,
                "metadata.absurd.cancel_losers \"yes\" must be true, false or a template",
            ),
            (
                json!({"cancel_losers": true}),
                false,
                "metadata.absurd.cancel_losers true is an option of joins",
            ),
        ] {
            assert_eq!(parse(options, is_join).unwrap_err(), message);
        }
    }
}
