//! The time of each operation of a model, the minimum over 2000 hops:
//! `cargo bench --features bench --bench profile -- [FOLDER] [--rows=N] [--nodes]`.
//!
//! FOLDER: the model; default: the embedded model `base`. `--rows=N`: N streams share a step.
//! `--nodes`: list every operation before the sums.

use std::collections::BTreeMap;

use quietwire::Model;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let folder = arguments.iter().find(|argument| !argument.starts_with('-'));
    let model = folder.map_or_else(|| Model::embedded("base"), Model::from_folder);
    let model = model.expect("a model to profile");
    // `cargo bench -- --test` only checks that the benchmark runs.
    let runs = if has("--test") { 1 } else { 2000 };
    let mut rows = arguments
        .iter()
        .filter_map(|argument| argument.strip_prefix("--rows="));
    let rows: usize = rows
        .next()
        .map_or(1, |rows| rows.parse().expect("a number of rows"));
    let graphs = quietwire::bench::profile(&model, rows, runs);
    for (graph, operations) in graphs.iter().enumerate() {
        let total: f64 = operations.iter().map(|(us, _, _)| us).sum();
        println!(
            "graph {graph}: {} operations, {total:.1} us",
            operations.len()
        );
        let mut kinds: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
        for (us, kind, node) in operations {
            let (count, sum) = kinds.entry(kind).or_default();
            *count += 1;
            *sum += us;
            if has("--nodes") {
                println!("  {us:7.2}  {kind:24} {node}");
            }
        }
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
        for (kind, (count, us)) in kinds {
            println!("  {us:7.2}  {count:4} x {kind}");
        }
    }
}
