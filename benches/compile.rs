//! Texts to a plan on one core: 1,000, 10,000 and more segments over one catalogue.
//!
//! `cargo bench --bench compile [-- SET...]`, SET being a number of segments. Prints milliseconds of CPU for the checked definitions
//! (`lang`) and for the plan; figures on shared machines are orders of magnitude.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use segmentd::lang::{SourceFile, compile};
use segmentd::plan::Plan;

const CATALOGUE: &str = include_str!("../examples/catalogue.seg");

/// Segments of ten kinds; each set has as many different ones as it has segments.
fn definitions(n: usize) -> Vec<SourceFile> {
    let mut text = String::new();
    for i in 0..n {
        let (days, many, money) = (1 + i % 89, 2 + i % 9, 10 + i);
        let condition = match i % 10 {
            0 => format!("at least {many} product_viewed[category = \"c{}\"] in last {days}d", i / 10),
            1 => format!("any add_to_cart[category = \"c{}\"] in last {days}d and no order_completed in last {days}d", i / 10),
            2 => format!("sum(order_completed.total) in last {days}d >= {money} EUR"),
            3 => format!("no activity in last {days}d and at least {many} order_completed ever"),
            4 => format!("last(product_viewed[category = \"c{}\"]) between {days}d and {}d ago", i / 10, 2 * days),
            5 => format!("cart.value >= {money} EUR and cart.changed_at at least {}m ago", 10 * days),
            6 => format!("distinct(product_viewed.category) in last {days}d >= {many} and customer.country = \"C{i}\""),
            7 => format!("sequence(product_viewed[price >= {money} EUR] then add_to_cart within {many}h) in last {days}d"),
            8 => format!("at least {many} page_viewed[category = \"c{}\"] in this month and not in segment s{}", i / 10, i - 8),
            _ => format!(
                "any order_completed on at least {} of last {} days and customer.country in [\"SE\", \"N{i}\"]",
                1 + i % 5,
                6 + i % 60
            ),
        };
        let _ = writeln!(text, "segment s{i} {{ when {condition} }}");
    }
    vec![SourceFile::new("catalogue.seg", CATALOGUE), SourceFile::new("segments.seg", text)]
}

/// CPU time of this thread as Linux counts it.
fn spent() -> Duration {
    let cpu = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    cpu.as_deref().and_then(|text| text.split(' ').next()?.parse().ok()).map_or(Duration::ZERO, Duration::from_nanos)
}

fn main() {
    let mut sets: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.replace('_', "").parse().ok()).collect();
    if sets.is_empty() {
        sets = vec![1_000, 10_000];
    }
    println!("{:>9} {:>10} {:>12} {:>9}", "segments", "KiB", "checked ms", "plan ms");
    for n in sets {
        let files = definitions(n);
        let started = spent();
        let compiled = compile(&files);
        let checked = spent();
        let first = compiled.errors().next().map(ToString::to_string);
        let workspace = compiled.workspace.unwrap_or_else(|| panic!("{}", first.unwrap_or_default()));
        let plan = Plan::compile(Arc::new(workspace));
        let planned = spent();
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        println!(
            "{:>9} {:>10} {:>12.0} {:>9.0}",
            plan.workspace().definitions.len(),
            files[1].text.len() / 1024,
            ms(checked - started),
            ms(planned - checked)
        );
    }
}
