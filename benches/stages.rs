//! The time of each stage for one hop.

use criterion::{Criterion, criterion_group, criterion_main};
use quietwire::Model;

fn stages(c: &mut Criterion) {
    let model = Model::embedded("base").unwrap();
    let mut group = c.benchmark_group("stage");
    for (name, mut stage) in quietwire::bench::stages(&model) {
        group.bench_function(name, |b| b.iter(&mut stage));
    }
    group.finish();
}

criterion_group!(benches, stages);
criterion_main!(benches);
