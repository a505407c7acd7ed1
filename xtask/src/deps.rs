//! `cargo xtask deps`: the licences and the sources of what the workspace depends on.
//!
//! deny.toml says what may come in, for cargo-deny too. That takes minutes to build; what is looked at
//! here is in the output of `cargo metadata`. Of the library's own dependencies more is asked, as they
//! become its users'.

use crate::Outcome;
use crate::args::{self, Args};
use crate::cargo::root;
use crate::metadata::{metadata, published};
use serde_json::Value;
use spdx::{Expression, Licensee, ParseMode};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;

pub(crate) const USAGE: &str = "\
usage: cargo xtask deps

Looks at all crates that the workspace depends on, for its tests and tools too:

  licences  each may be used under licences that deny.toml allows
  sources   each comes from crates.io, or is the workspace's own

and at those that the library depends on:

  licences  each may be used under MIT or Apache-2.0, or is tables of Unicode's
  versions  there are no two versions of one
  links     none links a library that is not Rust's
";

const TARGET: &str = "x86_64-unknown-linux-gnu";
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// What the library's users have to agree to.
const OF_THE_LIBRARY: [&str; 3] = ["Apache-2.0", "MIT", "Unicode-3.0"];

pub(crate) fn main(args: Args) -> Outcome {
    args::none(args)?;
    let text = fs::read_to_string(root().join("deny.toml"))?;
    let names = published()?.into_iter().map(|one| one.name).collect();
    let words = ["--locked", "--all-features", "--filter-platform", TARGET];
    let graph = Graph::read(&metadata(&words)?)?;
    let library = graph.behind(&names);
    let mut faults = graph.all(&allowed(&text)?)?;
    faults.extend(graph.of_library(&library)?);
    faults.iter().for_each(|fault| println!("{fault}"));
    let (all, few, wrong) = (graph.packages.len(), library.len(), faults.len());
    println!("deps: {all} crates, {few} of them the library's; {wrong} faults");
    Ok(faults.is_empty())
}

/// The licences that deny.toml allows.
fn allowed(text: &str) -> Result<Vec<Licensee>, Box<dyn Error>> {
    let table: toml::Table = text.parse()?;
    let list = table.get("licenses").and_then(|licences| licences.get("allow")?.as_array());
    let list = list.ok_or("deny.toml does not say which licences are allowed")?;
    licensees(list.iter().filter_map(toml::Value::as_str))
}

fn licensees<'a>(
    names: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<Licensee>, Box<dyn Error>> {
    let licensees = names.into_iter().map(|name| {
        Licensee::parse(name).map_err(|e| format!("{name} is no licence: {}", e.reason).into())
    });
    licensees.collect()
}

/// Whether what has the licence `text` may be used under some of `allowed`.
fn may_be_used(text: &str, allowed: &[Licensee]) -> bool {
    // Lax: older crates write `MIT/Apache-2.0`.
    Expression::parse_mode(text, ParseMode::LAX).is_ok_and(|licence| {
        licence.evaluate(|wanted| allowed.iter().any(|licensee| licensee.satisfies(wanted)))
    })
}

/// A crate that the workspace depends on, or that is in it.
struct Package {
    name: String,
    version: String,
    licence: Option<String>,
    /// None: it is in the workspace.
    source: Option<String>,
    /// The library that it links, if that is not Rust's.
    links: Option<String>,
    /// What it depends on, but for its tests.
    needs: Vec<String>,
}

impl Package {
    /// The complaint that it has a fault.
    fn fault(&self, what: &str) -> String {
        format!("{} {}: {what}", self.name, self.version)
    }

    fn licence_fault(&self, allowed: &[Licensee], of: &str) -> Option<String> {
        let licence = self.licence.as_deref().unwrap_or("none");
        let what = format!("its licence is {licence}, which is not among {of}");
        (!may_be_used(licence, allowed)).then(|| self.fault(&what))
    }
}

/// All of them, by cargo's ids.
struct Graph {
    packages: BTreeMap<String, Package>,
}

impl Graph {
    /// Out of the output of `cargo metadata`.
    fn read(metadata: &Value) -> Result<Self, &'static str> {
        let unlike = "cargo metadata has another form than it had";
        let mut packages = BTreeMap::new();
        for package in metadata["packages"].as_array().ok_or(unlike)? {
            let text = |name: &str| package[name].as_str().map(str::to_owned);
            let read = Package {
                name: text("name").ok_or(unlike)?,
                version: text("version").ok_or(unlike)?,
                licence: text("license"),
                source: text("source"),
                links: text("links"),
                needs: Vec::new(),
            };
            packages.insert(text("id").ok_or(unlike)?, read);
        }
        // With a platform chosen, more packages are listed than are used on it.
        let nodes = metadata["resolve"]["nodes"].as_array().ok_or(unlike)?;
        let used: BTreeSet<&str> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
        packages.retain(|id, _| used.contains(id.as_str()));
        for node in nodes {
            let id = node["id"].as_str().ok_or(unlike)?;
            let needed = node["deps"].as_array().ok_or(unlike)?.iter().filter(|dep| {
                let kinds = dep["dep_kinds"].as_array().into_iter().flatten();
                kinds.into_iter().any(|kind| kind["kind"] != "dev")
            });
            let needed = needed.filter_map(|dep| dep["pkg"].as_str().map(str::to_owned));
            packages.get_mut(id).ok_or(unlike)?.needs = needed.collect();
        }
        Ok(Self { packages })
    }

    /// The packages with these names, and all that they depend on.
    fn behind(&self, names: &BTreeSet<String>) -> Vec<&Package> {
        let is_one = |package: &Package| package.source.is_none() && names.contains(&package.name);
        let ones = self.packages.iter().filter(|(_, package)| is_one(package));
        let mut next: Vec<&String> = ones.map(|(id, _)| id).collect();
        let mut found = BTreeMap::new();
        while let Some(id) = next.pop() {
            let Some(package) = self.packages.get(id) else { continue };
            if found.insert(id, package).is_none() {
                next.extend(&package.needs);
            }
        }
        found.into_values().collect()
    }

    /// What is wrong with any.
    fn all(&self, allowed: &[Licensee]) -> Result<Vec<String>, Box<dyn Error>> {
        let faults = self.packages.values().flat_map(|package| {
            let is_known = package.source.as_deref().is_none_or(|source| source == CRATES_IO);
            let source = package.source.as_deref().unwrap_or_default();
            let source = (!is_known).then(|| package.fault(&format!("it comes from {source}")));
            [package.licence_fault(allowed, "those of deny.toml"), source]
        });
        Ok(faults.flatten().collect())
    }

    /// What is wrong with the library's.
    fn of_library(&self, library: &[&Package]) -> Result<Vec<String>, Box<dyn Error>> {
        let allowed = licensees(OF_THE_LIBRARY)?;
        let mut faults = Vec::new();
        let mut versions = BTreeMap::new();
        for package in library {
            faults.extend(package.licence_fault(&allowed, "those of the library"));
            if let Some(links) = &package.links {
                faults.push(package.fault(&format!("the library would link {links}")));
            }
            if let Some(other) = versions.insert(&package.name, &package.version) {
                faults.push(package.fault(&format!("the library has {other} of it too")));
            }
        }
        Ok(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::{Graph, allowed, may_be_used};
    use serde_json::{Value, json};
    use std::error::Error;

    const DENY: &str = r#"licenses.allow = ["MIT", "Apache-2.0 WITH LLVM-exception", "ISC"]"#;

    #[test]
    fn licences() -> Result<(), Box<dyn Error>> {
        let allowed = allowed(DENY)?;
        for (licence, wanted) in [
            ("MIT", true),
            ("MIT/GPL-3.0", true),
            ("GPL-3.0-only OR (ISC AND MIT)", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("MIT AND GPL-3.0-only", false),
            ("as you like", false),
        ] {
            assert_eq!(may_be_used(licence, &allowed), wanted, "{licence}");
        }
        Ok(())
    }

    fn package(id: &str, licence: &str, source: Value) -> Value {
        let (name, version) = id.split_once(' ').unwrap_or_default();
        let links = if name == "z-sys" { json!("z") } else { Value::Null };
        let (license, id) = (json!(licence), json!(id));
        json!({ "id": id, "name": name, "version": version, "license": license, "source": source,
                "links": links })
    }

    fn node(id: &str, needs: &[(&str, Value)]) -> Value {
        let deps =
            needs.iter().map(|(id, kind)| json!({ "pkg": id, "dep_kinds": [{ "kind": kind }] }));
        json!({ "id": id, "deps": deps.collect::<Vec<_>>() })
    }

    #[test]
    fn faults() -> Result<(), Box<dyn Error>> {
        let io = || json!(super::CRATES_IO);
        let (normal, dev) = (Value::Null, json!("dev"));
        let metadata = json!({
            "packages": [
                package("lib 1", "MIT", Value::Null),
                package("a 1", "MIT", io()),
                package("a 2", "ISC", io()),
                package("z-sys 1", "MIT", json!("git+https://example.org/z")),
                package("test 1", "GPL-3.0", io()),
                package("other-system 1", "GPL-3.0", io()),
            ],
            "resolve": { "nodes": [
                node("lib 1", &[("a 1", normal.clone()), ("z-sys 1", normal.clone()), ("test 1", dev)]),
                node("a 1", &[]),
                node("z-sys 1", &[("a 2", normal)]),
                node("a 2", &[]),
                node("test 1", &[]),
            ] },
        });
        let graph = Graph::read(&metadata)?;
        assert_eq!(
            graph.all(&allowed(DENY)?)?,
            [
                "test 1: its licence is GPL-3.0, which is not among those of deny.toml",
                "z-sys 1: it comes from git+https://example.org/z",
            ]
        );
        let library = graph.behind(&["lib".to_owned()].into());
        assert_eq!(
            graph.of_library(&library)?,
            [
                "a 2: its licence is ISC, which is not among those of the library",
                "a 2: the library has 1 of it too",
                "z-sys 1: the library would link z",
            ]
        );
        Ok(())
    }
}
