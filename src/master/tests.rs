//! t
#[test] #[ignore = "t"] fn waits_for_its_input() {}
