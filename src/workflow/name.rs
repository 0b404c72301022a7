//! Names of workflows, their versions and their steps, and the joined form
//! `name__version__step`.

use std::sync::LazyLock;

use regex::Regex;

use super::bounds::cut;
use crate::error::{Error, Result};

/// Bytes of a workflow's name, and of a version: two of them, or one with a key, stand in an index.
const MAX_NAME: usize = 500;

const SEPARATOR: &str = "__";

static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("^[a-z][a-z0-9_]*$").ok());
static VERSION: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("^[a-zA-Z0-9._-]+$").ok());

fn check_length(argument: &'static str, text: &str) -> Result<()> {
    if text.len() <= MAX_NAME {
        return Ok(());
    }
    let rule = format!("has {} bytes; at most {MAX_NAME} are allowed", text.len());
    Err(Error::invalid(argument, rule))
}

fn matches(pattern: &LazyLock<Option<Regex>>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

/// Checks a workflow's name: `^[a-z][a-z0-9_]*$` without `__`, and without a trailing `_`, which
/// would make `a_` + `__` + `1` read like `a` + `__` + `_1`.
///
/// # Errors
/// 22004 for NULL, 22023 naming the rule.
pub fn check_name(name: Option<&str>) -> Result<&str> {
    let name = name.ok_or_else(|| Error::null("workflow_name"))?;
    check_length("workflow_name", name)?;
    let shown = || format!("workflow_name \"{}\"", cut(name));
    if !matches(&NAME, name) {
        return Err(Error::invalid(shown(), "must match ^[a-z][a-z0-9_]*$")
            .with_hint("Use lower-case letters, digits and single underscores."));
    }
    check_separator(shown, name)?;
    if name.ends_with('_') {
        return Err(Error::invalid(shown(), "must not end in \"_\"").with_hint(AMBIGUOUS));
    }
    Ok(name)
}

/// Checks a workflow's version: `^[a-zA-Z0-9._-]+$` without `__` and without a trailing `_`.
///
/// # Errors
/// 22004 for NULL, 22023 naming the rule.
pub fn check_version(version: Option<&str>) -> Result<&str> {
    let version = version.ok_or_else(|| Error::null("workflow_version"))?;
    check_length("workflow_version", version)?;
    let shown = || format!("workflow_version \"{}\"", cut(version));
    if !matches(&VERSION, version) {
        return Err(Error::invalid(shown(), "must match ^[a-zA-Z0-9._-]+$")
            .with_hint("Use letters, digits, dots, hyphens and single underscores."));
    }
    check_separator(shown, version)?;
    if version.ends_with('_') {
        return Err(Error::invalid(shown(), "must not end in \"_\"").with_hint(AMBIGUOUS));
    }
    Ok(version)
}

const AMBIGUOUS: &str = "The parts are joined as name__version__step; an underscore at the seam could not be told apart.";

fn check_separator(shown: impl Fn() -> String, text: &str) -> Result<()> {
    if text.contains(SEPARATOR) {
        return Err(Error::invalid(shown(), "must not contain \"__\"")
            .with_hint("\"__\" separates the parts of name__version__step."));
    }
    Ok(())
}

/// Checks a step's name where it is joined: any text that is not blank. It may hold and start with
/// underscores: it stands last, and the parts before it end in none.
fn check_step(step: Option<&str>) -> Result<&str> {
    let step = step.ok_or_else(|| Error::null("step_name"))?;
    if step.trim().is_empty() {
        return Err(Error::blank("step_name"));
    }
    Ok(step)
}

/// Joins the parts to `name__version__step`.
///
/// # Errors
/// 22004 or 22023 for a part that breaks its rule.
pub fn join(name: Option<&str>, version: Option<&str>, step: Option<&str>) -> Result<String> {
    let (name, version, step) = (check_name(name)?, check_version(version)?, check_step(step)?);
    Ok([name, version, step].join(SEPARATOR))
}

/// Splits `name__version__step` into its parts.
///
/// # Errors
/// 22004 for NULL, 22023 when the text is not the joined form of three valid parts.
pub fn split(text: Option<&str>) -> Result<(&str, &str, &str)> {
    let text = text.ok_or_else(|| Error::null("workflow step name"))?;
    let mut parts = text.splitn(3, SEPARATOR);
    let parts = (parts.next(), parts.next(), parts.next());
    let (Some(name), Some(version), Some(step)) = parts else {
        return Err(Error::invalid(
            format!("workflow step name \"{}\"", cut(text)),
            "must have the form name__version__step",
        ));
    };
    Ok((check_name(Some(name))?, check_version(Some(version))?, check_step(Some(step))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        for good in ["a", "data_pipeline", "a1_b2"] {
            assert!(check_name(Some(good)).is_ok(), "{good}");
        }
        for bad in ["", "A", "1a", "_a", "a-b", "a b", "a__b", "a_", "ä", "a\n", "data_pipeline\n"]
        {
            assert_eq!(check_name(Some(bad)).unwrap_err().sqlstate(), "22023", "{bad:?}");
        }
        for check in [check_name, check_version] {
            assert!(check(Some(&"x".repeat(500))).is_ok());
            let error = check(Some(&"x".repeat(501))).unwrap_err();
            assert!(error.to_string().ends_with("has 501 bytes; at most 500 are allowed"));
        }
        assert_eq!(check_name(None).unwrap_err().sqlstate(), "22004");
    }

    #[test]
    fn versions() {
        for good in ["1", "1.0.0", "2025-11-01", "v1.0.0-rc.1", "a_b", "_1"] {
            assert!(check_version(Some(good)).is_ok(), "{good}");
        }
        for bad in ["", "1 0", "1__0", "_", "1_", "1/0", "1.0\n", "é"] {
            assert_eq!(check_version(Some(bad)).unwrap_err().sqlstate(), "22023", "{bad:?}");
        }
    }

    #[test]
    fn steps() {
        assert_eq!(join(Some("a"), Some("1"), Some("x y")).unwrap(), "a__1__x y");
        assert_eq!(join(Some("a"), Some("_1"), Some("_x")).unwrap(), "a___1___x");
        assert_eq!(split(Some("a___1___x")).unwrap(), ("a", "_1", "_x"));
        for bad in ["", " "] {
            assert!(join(Some("a"), Some("1"), Some(bad)).is_err(), "{bad:?}");
        }
        for bad in ["", "a", "a__1", "a__1__", "A__1__x", "a____x", "a__1 __x"] {
            assert_eq!(split(Some(bad)).unwrap_err().sqlstate(), "22023", "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn joined_names_split_into_the_same_parts(
            name in "[a-z][a-z0-9]{0,5}(_[a-z0-9]{1,4}){0,3}",
            version in "_?[a-zA-Z0-9.-]{1,6}(_[a-zA-Z0-9.-]{1,4}){0,3}",
            step in "_{0,3}[^\\s]\\PC{0,20}",
        ) {
            let joined = join(Some(&name), Some(&version), Some(&step)).unwrap();
            prop_assert_eq!(split(Some(&joined)).unwrap(), (&*name, &*version, &*step));
        }

        #[test]
        fn what_splits_joins_back(text in "[a-z_0-9.]{0,24}") {
            if let Ok((name, version, step)) = split(Some(&text)) {
                prop_assert_eq!(join(Some(name), Some(version), Some(step)).unwrap(), text);
            }
        }

        #[test]
        fn accepted_names_follow_the_rule(text in "\\PC{0,12}") {
            if check_name(Some(&text)).is_ok() {
                prop_assert!(text.starts_with(|c: char| c.is_ascii_lowercase()));
                prop_assert!(!text.contains("__") && !text.ends_with('_'));
            }
        }
    }
}
