//! What cargo knows of the workspace's crates.

use crate::cargo::cargo;
use serde_json::Value;
use std::error::Error;
use std::path::PathBuf;

/// A crate that is published.
#[derive(Clone, Debug)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Its folder in the repository.
    pub(crate) folder: PathBuf,
    /// The oldest Rust that it promises to work with.
    pub(crate) rust_version: String,
    /// Its readme, by its path from the folder; empty if it has none.
    pub(crate) readme: String,
    /// Without `default`.
    pub(crate) features: Vec<String>,
    /// `[package.metadata.docs.rs]`; null if there is none.
    pub(crate) docs_rs: Value,
}

/// The output of `cargo metadata`.
pub(crate) fn metadata(words: &[&str]) -> Result<Value, Box<dyn Error>> {
    let mut command = cargo(&["metadata", "--format-version", "1"]);
    let output = command.args(words).output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cargo metadata: {}", text.trim()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The workspace's crates that may be published.
pub(crate) fn published() -> Result<Vec<Crate>, Box<dyn Error>> {
    let all = metadata(&["--no-deps"])?;
    let packages = all["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let published = packages.iter().filter(|package| package["publish"].is_null());
    published
        .map(|package| Crate::read(package).ok_or("cargo metadata is unlike it was".into()))
        .collect()
}

impl Crate {
    fn read(package: &Value) -> Option<Self> {
        let text = |name: &str| Some(package[name].as_str()?.to_owned());
        let manifest = PathBuf::from(package["manifest_path"].as_str()?);
        let features = package["features"].as_object()?.keys();
        Some(Self {
            name: text("name")?,
            version: text("version")?,
            folder: manifest.parent()?.to_owned(),
            rust_version: text("rust_version")?,
            readme: text("readme").unwrap_or_default(),
            features: features.filter(|name| *name != "default").cloned().collect(),
            docs_rs: package["metadata"]["docs"]["rs"].clone(),
        })
    }

    /// What `[package.metadata.docs.rs]` lists under `name`.
    pub(crate) fn docs_rs_list(&self, name: &str) -> Vec<String> {
        let list = self.docs_rs[name].as_array().into_iter().flatten();
        list.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    }
}
