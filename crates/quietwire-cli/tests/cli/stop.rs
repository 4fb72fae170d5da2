//! Signals during a run, and what a killed run leaves.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};

use quietwire_testing::files::Folder;

use crate::audio::wav;
use crate::{quietwire, stderr, succeeded};

const OUTPUTS: [&str; 10] = [
    "clean",
    "-",
    "-o",
    "out.wav",
    "--residual",
    "rest.flac",
    "--telemetry",
    "hops.jsonl",
    "--report",
    "html",
];

/// A run that waits for the rest of its input and has outputs in progress.
fn waiting(folder: &Folder, command: &mut Command) -> (Child, ChildStdin) {
    let mut child = command
        .args(OUTPUTS)
        .current_dir(folder.join(""))
        .env("XDG_DATA_HOME", folder.join("data"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&wav(100_000)[..100_000]).unwrap();
    let start = Instant::now();
    while folder.list().len() < 3 {
        assert!(start.elapsed() < Duration::from_secs(60), "no outputs");
        std::thread::sleep(Duration::from_millis(10));
    }
    (child, stdin)
}

/// A program with the default actions of the signals: under nohup, and in the background of a shell, the
/// tests themselves ignore some of them.
fn with_default_signals(program: &str) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=INT,TERM,HUP", program]);
    command
}

fn program() -> Command {
    with_default_signals(env!("CARGO_BIN_EXE_quietwire"))
}

/// Waits for the end of a program that a signal ends.
fn ended(mut child: Child) -> Output {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("the signal did not end the program");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

fn signal(name: &str, child: &Child) {
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args([name, &pid])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn signals_remove_the_outputs_in_progress_and_end_the_program() {
    for (name, number) in [("-INT", 2), ("-TERM", 15), ("-HUP", 1)] {
        let folder = Folder::new(&format!("signal{name}"));
        let (child, stdin) = waiting(&folder, &mut program());
        signal(name, &child);
        let output = ended(child);
        drop(stdin);
        // A shell reports 128 more.
        assert_eq!(output.status.signal(), Some(number), "{}", stderr(&output));
        let expected = format!("stopped by SIG{}: ", &name[1..]);
        assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
        assert!(folder.list().is_empty(), "{:?}", folder.list());
    }
}

#[test]
fn a_shell_reports_130_143_and_129() {
    let folder = Folder::new("shell");
    let program = env!("CARGO_BIN_EXE_quietwire");
    for (name, code) in [("INT", "130"), ("TERM", "143"), ("HUP", "129")] {
        let line = format!(
            "mkfifo pipe; {program} clean pipe -o out.wav & sleep 0.1; exec 3> pipe; \
             while ! ls .out.wav.* > /dev/null 2>&1; do head -c 100000 /dev/zero >&3; sleep 0.05; done; \
             kill -{name} $!; wait $!; echo $?; exec 3>&-; rm pipe"
        );
        folder.put("start", &wav(100_000));
        let line = line.replace("exec 3> pipe;", "exec 3> pipe; head -c 60000 start >&3;");
        let run = with_default_signals("bash")
            .args(["-c", &line])
            .current_dir(folder.join(""))
            .output();
        let run = run.unwrap();
        let text = String::from_utf8_lossy(&run.stdout);
        assert_eq!(text.trim(), code, "{}", stderr(&run));
        assert_eq!(folder.list(), ["start"]);
    }
}

#[test]
fn a_program_under_nohup_goes_on_after_the_terminal_is_closed() {
    let folder = Folder::new("nohup");
    let mut command = Command::new("nohup");
    command.arg(env!("CARGO_BIN_EXE_quietwire"));
    let (child, mut stdin) = waiting(&folder, &mut command);
    signal("-HUP", &child);
    std::thread::sleep(Duration::from_millis(100));
    stdin.write_all(&wav(100_000)[100_000..]).unwrap();
    drop(stdin);
    succeeded(child.wait_with_output().unwrap());
    assert_eq!(folder.list().len(), 4, "{:?}", folder.list());
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next_one() {
    let folder = Folder::new("killed");
    let (mut child, _stdin) = waiting(&folder, &mut program());
    // Another run does not touch the outputs in progress.
    folder.put("in/a.wav", &wav(1000));
    let again = [
        "clean",
        "in/a.wav",
        "-o",
        "out.wav",
        "--residual",
        "rest.flac",
    ];
    let output = quietwire(&folder, &again);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("another run is writing"), "{text}");
    assert!(text.contains("if no other run is active"), "{text}");
    assert!(!folder.join("out.wav").exists());

    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(folder.list().len(), 4, "{:?}", folder.list());
    let again = [&again[..], &["--telemetry", "hops.jsonl"]].concat();
    succeeded(quietwire(&folder, &again));
    assert_eq!(
        folder.list(),
        ["hops.jsonl", "in/a.wav", "out.wav", "rest.flac"]
    );
    assert_eq!(fs::metadata(folder.join("out.wav")).unwrap().len(), 2044);
}
