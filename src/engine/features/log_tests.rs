use std::collections::BTreeSet;

use super::*;
use crate::engine::features::Ring;
use crate::time::Millis;

const RELS: [Rel; 5] = [Rel::Eq, Rel::Lt, Rel::Le, Rel::Gt, Rel::Ge];

fn round_trip(plan: &LogPlan, log: &Log) {
    let mut bytes = Vec::new();
    log.encode(plan, Timestamp(-9), &mut bytes);
    let (mut reader, mut back) = (Reader::new(&bytes), Log::default());
    back.decode(plan, Timestamp(-9), &mut reader);
    assert!(reader.done() && !reader.failed());
    assert_eq!(&back, log);
}

fn naive(all: &[(i64, i64)], quantity: Quantity, window: AgeWindow, t: i64) -> Option<Ratio> {
    let inside: Vec<i64> = all.iter().filter(|(ts, _)| window.contains(Timestamp(*ts), Timestamp(t))).map(|(_, v)| *v).collect();
    let sum: i128 = inside.iter().map(|v| i128::from(*v)).sum();
    match quantity {
        Quantity::Count => Some(Ratio::whole(inside.len() as i128)),
        Quantity::Sum => Some(Ratio::whole(sum)),
        Quantity::Avg => (!inside.is_empty()).then(|| Ratio { num: sum, den: inside.len() as i128 }),
        Quantity::Min => inside.iter().min().map(|v| Ratio::whole(i128::from(*v))),
        Quantity::Max => inside.iter().max().map(|v| Ratio::whole(i128::from(*v))),
        Quantity::Distinct => Some(Ratio::whole(inside.iter().collect::<BTreeSet<_>>().len() as i128)),
    }
}

fn window(rng: &mut fastrand::Rng, bounded: bool) -> AgeWindow {
    let near = rng.i64(0..20);
    match rng.u8(0..4) {
        0 if !bounded => AgeWindow::EVER,
        1 if !bounded => AgeWindow::older(Millis(near)),
        2 => AgeWindow::last(Millis(rng.i64(1..60))),
        _ => AgeWindow::between(Millis(near), Millis(near + rng.i64(1..40))),
    }
}

#[test]
fn every_quantity_in_every_window_answers_like_the_whole_list() {
    for seed in 0..1_000u64 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let hashes = rng.u8(0..4) == 0;
        let windows: Vec<AgeWindow> = (0..rng.usize(1..4)).map(|_| window(&mut rng, hashes)).collect();
        let plan = LogPlan::new(&windows, if hashes { Values::Hashes } else { Values::Numbers }, true, 256);
        let (mut log, mut all, mut newest) = (Log::default(), Vec::new(), i64::MIN);
        for _ in 0..rng.usize(1..24) {
            let (ts, value) = (rng.i64(0..90), rng.i64(-4..5));
            newest = newest.max(ts);
            all.push((ts, value));
            log.insert(&plan, Timestamp(ts), value, Timestamp(newest));
            round_trip(&plan, &log);
            let (window, t) = (windows[rng.usize(0..windows.len())], newest + rng.i64(0..70));
            let quantity = match rng.u8(0..5) {
                _ if hashes => Quantity::Distinct,
                0 => Quantity::Count,
                1 => Quantity::Sum,
                2 => Quantity::Avg,
                3 => Quantity::Min,
                _ => Quantity::Max,
            };
            let reading = log.read(quantity, window, Timestamp(t));
            let want = naive(&all, quantity, window, t);
            assert!(
                match (reading.value, want) {
                    (Some(a), Some(b)) => a.compare(b).is_eq(),
                    (a, b) => a == b,
                },
                "seed {seed} {quantity:?} {window:?} {all:?} at {t}: {reading:?}, not {want:?}"
            );
            let set_at = |t: i64| all.iter().map(|(ts, _)| window.contains(Timestamp(*ts), Timestamp(t))).collect::<Vec<bool>>();
            if let Some(change) = (t + 1..t + 200).find(|u| set_at(*u) != set_at(t)) {
                // Values that cannot show may have gone, with distinct counts only.
                assert!(reading.next == Timestamp(change) || hashes, "seed {seed} {window:?} {all:?} at {t}");
            }
            let (rel, with) = (RELS[rng.usize(0..5)], Ratio { num: rng.i128(-9..10), den: rng.i128(1..4) });
            let holds = |t: i64| naive(&all, quantity, window, t).is_some_and(|v| satisfies(v.compare(with), rel));
            let got = log.compare(quantity, window, Timestamp(t), rel, with);
            let flip = (t + 1..t + 200).find(|u| holds(*u) != holds(t)).map_or(Timestamp::MAX, Timestamp);
            assert_eq!((got.holds, got.until, got.approx), (holds(t), flip, false), "seed {seed} {quantity:?} {window:?} {all:?} at {t}");
        }
    }
}

#[test]
fn thinned_counts_are_exact_against_their_constant() {
    let mut thinned = false;
    for seed in 0..500u64 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let near = rng.i64(0..40);
        let window = AgeWindow::between(Millis(near), Millis(near + rng.i64(1..40)));
        let (rel, k) = (RELS[rng.usize(0..5)], rng.i64(0..4));
        let plan = LogPlan::thinned(window, Ring::needed(rel, k));
        let (mut log, mut all, mut newest) = (Log::default(), Vec::new(), i64::MIN);
        for i in 0..rng.i64(1..60) {
            let ts = if rng.u8(0..5) == 0 { rng.i64(0..90) } else { i * 2 };
            newest = newest.max(ts);
            all.push(ts);
            log.insert(&plan, Timestamp(ts), 0, Timestamp(newest));
            round_trip(&plan, &log);
            let t = newest + rng.i64(0..60);
            let holds = |t: i64| {
                let n = all.iter().filter(|ts| window.contains(Timestamp(**ts), Timestamp(t))).count() as i64;
                satisfies(n.cmp(&k), rel)
            };
            let got = log.compare(Quantity::Count, window, Timestamp(t), rel, Ratio::whole(i128::from(k)));
            let flip = (t + 1..t + 200).find(|u| holds(*u) != holds(t)).map_or(Timestamp::MAX, Timestamp);
            assert_eq!((got.holds, got.until), (holds(t), flip), "seed {seed} {rel:?} {k} {window:?} {all:?} at {t}");
        }
        let inside = all.iter().filter(|ts| newest - **ts < window.far.0).count();
        thinned |= log.len() < inside;
    }
    assert!(thinned);
}

#[test]
fn beyond_the_cap_entries_leave_at_most_a_64th_late_and_never_early() {
    for seed in 0..6u64 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (short, long) = (AgeWindow::last(Millis(64_000)), AgeWindow::last(Millis(640_000)));
        let plan = LogPlan::new(&[short, long, AgeWindow::EVER], Values::Numbers, true, 20);
        let (mut log, mut all, mut now) = (Log::default(), Vec::new(), 0i64);
        for _ in 0..2_000 {
            now += rng.i64(0..700);
            let ts = if rng.u8(0..10) == 0 { (now - rng.i64(0..100_000)).max(0) } else { now };
            all.push((ts, rng.i64(0..100)));
            log.insert(&plan, Timestamp(ts), all[all.len() - 1].1, Timestamp(now));
        }
        round_trip(&plan, &log);
        assert!(log.times.len() <= 20 && log.buckets.len() <= 260, "{} buckets", log.buckets.len());
        assert_eq!(log.read(Quantity::Sum, AgeWindow::EVER, Timestamp(now)).value, naive(&all, Quantity::Sum, AgeWindow::EVER, now));
        for window in [short, long] {
            for _ in 0..60 {
                let t = now + rng.i64(0..window.far.0 + 1_000);
                let late = AgeWindow::last(Millis(window.far.0 + window.far.0 / 64));
                for quantity in [Quantity::Count, Quantity::Sum] {
                    let got = log.read(quantity, window, Timestamp(t));
                    let (low, high) = (naive(&all, quantity, window, t), naive(&all, quantity, late, t));
                    let n = got.value.map(|v| v.num);
                    assert!(n >= low.map(|v| v.num) && n <= high.map(|v| v.num), "seed {seed} {quantity:?} at {t}: {n:?} {low:?} {high:?}");
                    assert!(got.approx || got.value == low, "seed {seed} {quantity:?} at {t}");
                }
            }
        }
    }
}
