//! Options of a step for the engine: `metadata.absurd` (HIGHWAY 14.2).

use serde_json::{Map, Value};

use super::bounds::{cut, shown};
use super::template::Tree;

/// Lost leases of a step's task that may at most count as no attempt (HIGHWAY 14.3).
const MOST_LOST_LEASES: u32 = 1000;

/// What `metadata.absurd` of a step says.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Of a join: its inputs that have not ended when it is decided are cancelled.
    pub cancel_losers: Option<Tree>,
    /// Of a queue task: how often it is handed out again when its worker's lease has ended, which
    /// counts as no attempt.
    pub max_lost_leases: Option<Tree>,
}

/// What a step is, as far as options ask.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Join,
    QueueTask,
    Other,
}

impl EngineOptions {
    /// Reads the options of a step of a kind.
    ///
    /// # Errors
    /// The option, its value and the rule that it breaks.
    pub fn parse(metadata: &Map<String, Value>, kind: Kind) -> Result<Self, String> {
        let mut options = Self::default();
        let members = match metadata.get("absurd") {
            None => return Ok(options),
            Some(Value::Object(members)) => members,
            Some(other) => {
                return Err(format!("metadata.absurd {} must be an object", shown(other)));
            }
        };
        for (name, value) in members {
            let wrong = |rule: &str| Err(format!("metadata.absurd.{name} {} {rule}", shown(value)));
            let tree = || -> Result<(Tree, bool), String> {
                let tree =
                    Tree::parse(value).map_err(|rule| format!("metadata.absurd.{name} {rule}"))?;
                let is_template = value.is_string() && !tree.is_literal();
                Ok((tree, is_template))
            };
            match name.as_str() {
                "cancel_losers" => {
                    let (tree, is_template) = tree()?;
                    if !value.is_boolean() && !is_template {
                        return wrong("must be true, false or a template");
                    }
                    if kind != Kind::Join {
                        return wrong("is an option of joins");
                    }
                    options.cancel_losers = Some(tree);
                }
                "max_lost_leases" => {
                    let (tree, is_template) = tree()?;
                    if lost_leases(value).is_none() && !is_template {
                        return wrong("must be an integer from 0 to 1000 or a template");
                    }
                    if kind != Kind::QueueTask {
                        return wrong("is an option of steps that are tasks of the queue");
                    }
                    options.max_lost_leases = Some(tree);
                }
                other => {
                    let known = "; the engine's options are cancel_losers, max_lost_leases";
                    return Err(format!("metadata.absurd.{} is unknown{known}", cut(other)));
                }
            }
        }
        Ok(options)
    }
}

/// The number of lost leases that a value stands for; none for what is no such number.
pub fn lost_leases(value: &Value) -> Option<u32> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok())?;
    (number <= MOST_LOST_LEASES).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(options: Value, kind: Kind) -> Result<EngineOptions, String> {
        let Value::Object(metadata) = json!({"absurd": options, "owner": {"any": "thing"}}) else {
            unreachable!()
        };
        EngineOptions::parse(&metadata, kind)
    }

    #[test]
    fn options_are_read() {
        assert!(parse(json!({}), Kind::Other).unwrap().cancel_losers.is_none());
        for value in [json!(true), json!(false), json!("{{first_wins}}")] {
            assert!(
                parse(json!({"cancel_losers": value}), Kind::Join).unwrap().cancel_losers.is_some()
            );
        }
    }

    #[test]
    fn wrong_options_are_refused() {
        for (options, kind, message) in [
            (json!([]), Kind::Join, "metadata.absurd [] must be an object"),
            (
                json!({"cancel_loser": true}),
                Kind::Join,
                "metadata.absurd.cancel_loser is unknown; the engine's options are cancel_losers, \
                 max_lost_leases",
            ),
            (
                json!({"cancel_losers": "yes"}),
                Kind::Join,
                "metadata.absurd.cancel_losers \"yes\" must be true, false or a template",
            ),
            (
                json!({"cancel_losers": true}),
                Kind::QueueTask,
                "metadata.absurd.cancel_losers true is an option of joins",
            ),
            (
                json!({"max_lost_leases": -1}),
                Kind::QueueTask,
                "metadata.absurd.max_lost_leases -1 must be an integer from 0 to 1000 or a template",
            ),
            (
                json!({"max_lost_leases": "many"}),
                Kind::QueueTask,
                "metadata.absurd.max_lost_leases \"many\" must be an integer from 0 to 1000 or a \
                 template",
            ),
            (
                json!({"max_lost_leases": 1}),
                Kind::Join,
                "metadata.absurd.max_lost_leases 1 is an option of steps that are tasks of the queue",
            ),
        ] {
            assert_eq!(parse(options, kind).unwrap_err(), message);
        }
    }

    #[test]
    fn lost_leases_are_counted_up_to_a_thousand() {
        for value in [json!(0), json!(1000), json!("{{inputs.n}}")] {
            let options = parse(json!({"max_lost_leases": value}), Kind::QueueTask).unwrap();
            assert!(options.max_lost_leases.is_some());
        }
        let none = [json!(1001), json!(0.5), json!(null), json!([])];
        assert!(none.iter().all(|value| lost_leases(value).is_none()));
    }
}
