//! The callbacks of the devices do nothing that can wait.

#[path = "../shared/callbacks.rs"]
mod shared;

#[test]
fn callbacks_do_not_allocate_with_full_and_empty_rings_too() {
    let mut allocations = 0;
    shared::run_callbacks(|callbacks| {
        allocations += quietwire_testing::measure(callbacks).count_total;
    });
    assert_eq!(allocations, 0);
}
