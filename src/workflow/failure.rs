//! Why a step fails without a worker's doing: a name that documents can rely on, and a message.

use crate::error::fit;

/// The failure of a step, as `error.name` and `error.message` of HIGHWAY 10.6 show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub name: &'static str,
    pub message: String,
}

macro_rules! constructors {
    ($($function:ident $name:literal)*) => {
        $(
            #[doc = concat!("A `", $name, "`.")]
            pub fn $function(message: impl Into<String>) -> Self {
                Self { name: $name, message: fit(&message.into()).into_owned() }
            }
        )*

        #[cfg(test)]
        /// Every name that the engine gives to a failure of its own.
        pub const NAMES: &'static [&'static str] = &[$($name),*];
    };
}

impl Failure {
    constructors! {
        template "TemplateError"
        expression "ExpressionError"
        precondition "PreconditionFailed"
        postcondition "PostconditionFailed"
        timeout "TimeoutError"
        branch "BranchFailed"
        iteration "IterationFailed"
        loop_limit "LoopLimitExceeded"
        join "JoinFailed"
        insufficient_branches "InsufficientBranches"
        child_workflow "ChildWorkflowFailed"
        circuit_open "CircuitOpen"
        terminated "Terminated"
        deadline "DeadlineExceeded"
        data_limit "DataLimitExceeded"
        operator "FailedByOperator"
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constructors_give_the_names_of_the_format() {
        assert_eq!(Failure::template("x").to_string(), "TemplateError: x");
        assert_eq!(Failure::loop_limit("x").name, "LoopLimitExceeded");
        assert_eq!(Failure::NAMES.len(), 16);
    }
}
