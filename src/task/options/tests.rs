use super::*;

#[test]
fn absent_and_null_members_take_their_defaults() {
    for empty in ["{}", "null"] {
        assert_eq!(SpawnOptions::parse(empty).unwrap(), SpawnOptions::default());
        assert_eq!(RetryOptions::parse(empty).unwrap(), RetryOptions::default());
    }
    let nulls = r#"{"headers":null,"retry_strategy":null,"max_attempts":null,
        "cancellation":null,"idempotency_key":null,"delay_seconds":null}"#;
    assert_eq!(SpawnOptions::parse(nulls).unwrap(), SpawnOptions::default());
}

#[test]
fn members_are_read() {
    let options = SpawnOptions::parse(
        r#"{"headers":{"a":1,"workflow_run_id":"h"},"max_attempts":3,"idempotency_key":"k","delay_seconds":1.5,
            "workflow_run_id":"w","tenant_id":"t","retry_strategy":{"kind":"fixed"},
            "cancellation":{"max_delay":5},"priority":-8}"#,
    )
    .unwrap();
    assert_eq!(
        options,
        SpawnOptions {
            max_attempts: Some(3),
            idempotency_key: Some("k".into()),
            tenant_id: Some("t".into()),
            start: Start::After(1.5),
            workflow_run_id: Some("w".into()),
            header_workflow_run_id: Some("h".into()),
            priority: -8,
            unknown: Vec::new(),
        }
    );
}

#[test]
fn members_that_mean_nothing_are_listed() {
    for (json, count) in [
        (r#"{"attempts":[1],"max_attempts":2,"headers":{"attempts":1}}"#, 1),
        (r#"{"retry_strategy":{"kind":"fixed","base":5},"cancellation":{"delay":5}}"#, 2),
        (r#"{"retry_strategy":{"kind":"fixed","base_seconds":5,"factor":1,"max_seconds":9}}"#, 0),
    ] {
        assert_eq!(SpawnOptions::parse(json).unwrap().unknown.len(), count, "{json}");
    }
    assert_eq!(RetryOptions::parse(r#"{"spawn_new":true,"new":1}"#).unwrap().unknown.len(), 1);
}

#[test]
fn malformed_options_are_named() {
    for (json, named) in [
        ("[]", "options []"),
        (r#"{"headers":[]}"#, "headers"),
        (r#"{"max_attempts":0}"#, "max_attempts"),
        (r#"{"max_attempts":1.5}"#, "max_attempts"),
        (r#"{"max_attempts":"3"}"#, "max_attempts"),
        (r#"{"max_attempts":99999999999}"#, "max_attempts"),
        (r#"{"cancellation":[]}"#, "cancellation"),
        (r#"{"cancellation":{"max_delay":1.5}}"#, "max_delay"),
        (r#"{"cancellation":{"max_delay":-1}}"#, "max_delay"),
        (r#"{"cancellation":{"max_delay":1000000000}}"#, "max_delay"),
        (r#"{"cancellation":{"max_duration":"60"}}"#, "max_duration"),
        (r#"{"idempotency_key":7}"#, "idempotency_key"),
        (r#"{"idempotency_key":" "}"#, "idempotency_key"),
        (r#"{"workflow_run_id":7}"#, "workflow_run_id"),
        (r#"{"delay_seconds":-1}"#, "delay_seconds"),
        (r#"{"priority":9}"#, "priority"),
        (r#"{"priority":0.5}"#, "priority"),
        (r#"{"priority":"high"}"#, "priority"),
        (r#"{"available_at":7}"#, "available_at"),
        (r#"{"available_at":"now","delay_seconds":1}"#, "available_at"),
    ] {
        let error = SpawnOptions::parse(json).unwrap_err();
        assert_eq!(error.sqlstate(), "22023", "{json}");
        assert!(error.to_string().contains(named), "{json}: {error}");
    }
    let strategy = SpawnOptions::parse(r#"{"retry_strategy":7}"#).unwrap_err();
    assert_eq!(strategy.sqlstate(), "AB003");
}

#[test]
fn a_stored_rule_that_cannot_be_followed_binds_nothing() {
    assert_eq!(
        Cancellation::stored(r#"{"max_delay":1.5,"max_duration":60}"#),
        Cancellation { max_delay: None, max_duration: Some(60) }
    );
    assert_eq!(Cancellation::stored("[1]"), Cancellation::default());
}

#[test]
fn retry_options() {
    let both = RetryOptions::parse(r#"{"max_attempts":4,"spawn_new":true}"#).unwrap();
    assert_eq!(both, RetryOptions { max_attempts: Some(4), spawn_new: true, unknown: vec![] });
    for bad in ["[]", r#"{"max_attempts":0}"#, r#"{"spawn_new":"yes"}"#] {
        assert_eq!(RetryOptions::parse(bad).unwrap_err().sqlstate(), "22023", "{bad}");
    }
}
