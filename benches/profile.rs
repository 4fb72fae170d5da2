//! Where a model's time goes, operation by operation, the least of 2000 hops: `cargo bench --features bench --bench profile
//! -- FOLDER [--rows=N] [--nodes]`. No folder: the default model. N: streams that share a step.

use std::collections::BTreeMap;
use std::path::Path;

use quietwire::Model;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let folder = words.iter().find(|word| !word.starts_with('-'));
    let model = folder.map_or_else(
        || Model::embedded("base"),
        |folder| Model::from_folder(Path::new(folder)),
    );
    let model = model.expect("a model to profile");
    // `cargo bench -- --test` asks for one run, to see that it works.
    let runs = if words.iter().any(|word| word == "--test") {
        1
    } else {
        2000
    };
    let rows = words.iter().find_map(|word| word.strip_prefix("--rows="));
    let rows: usize = rows.map_or(1, |rows| rows.parse().expect("a number of rows"));
    for (graph, nodes) in quietwire::bench::profile(&model, rows, runs)
        .iter()
        .enumerate()
    {
        let total: f64 = nodes.iter().map(|(us, _, _)| us).sum();
        println!("graph {graph}: {} operations, {total:.1} us", nodes.len());
        let mut kinds: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
        for (us, kind, name) in nodes {
            let sum = kinds.entry(kind).or_default();
            *sum = (sum.0 + 1, sum.1 + us);
            if words.iter().any(|word| word == "--nodes") {
                println!("  {us:7.2}  {kind:24} {name}");
            }
        }
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
        for (kind, (count, us)) in kinds {
            println!("  {us:7.2}  {count:4} x {kind}");
        }
    }
}
