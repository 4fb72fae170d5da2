//! Tests that end their process.

use std::process::Command;

/// Runs the ignored test `name` of this test program in a process of its own, which must fail. Returns what it
/// wrote to standard error.
pub fn failing_test(name: &str) -> String {
    let this = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new(this);
    let child = command.args(["--ignored", "--exact", name]).output();
    let child = child.expect("a process of this program");
    assert!(!child.status.success(), "{name} passed: it must fail");
    String::from_utf8_lossy(&child.stderr).into_owned()
}
