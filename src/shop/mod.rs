//! A seeded shop: believable visits of returning customers, as records that segmentd reads.
//!
//! Used by `segmentd generate`, by the demo and by the benchmarks. It never reads a clock: shop time is data, and whoever wants it live
//! sends each record when its arrival has come. Equal settings give equal records.
//!
//! The shape follows published logs: session lengths are log-normal with median 6 and mean about 17 events (OTTO: mean 16.8, p50 6, p75
//! 15, p90 39, p95 68, at most 500), nine events in ten are browsing, six in a hundred add to the cart, one in a hundred is an order;
//! products and customers are as skewed as asked; records may come late and twice, as trackers send them.
//!
//! **Source:** otto-de/recsys-dataset:README.md (session statistics, CC BY 4.0); the event shares lie between OTTO's and RetailRocket's.

mod assortment;
mod record;
mod visit;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::time::{Millis, Timestamp};

pub use assortment::{Assortment, Product};
pub use record::{Body, ShopRecord, Stream};

use visit::Visit;

/// What kind of shop it is; equal settings give equal records.
#[derive(Clone, Debug, PartialEq)]
pub struct ShopSettings {
    pub seed: u64,
    /// Instant of the first records.
    pub start: Timestamp,
    /// Records per second of shop time that the shop tends to.
    pub rate: f64,
    /// Customers that the shop has; each is met again and again.
    pub customers: u32,
    /// Products on offer.
    pub products: u32,
    /// 0: all customers and products alike; towards 1: few have nearly everything (density falls with rank to this power).
    pub skew: f64,
    /// By how much visits are faster than people: 1 is a think time of about 12 s (median), 20 fits a visit into seconds.
    pub pace: f64,
    /// Share of events that arrive late, 0 to 1.
    pub disorder: f64,
    /// Most lateness of a late event.
    pub late_by: Millis,
    /// Share of events that are sent twice with the same id, 0 to 1.
    pub duplicates: f64,
}

impl Default for ShopSettings {
    fn default() -> Self {
        ShopSettings {
            seed: 1,
            start: Timestamp(1_767_571_200_000), // 2026-01-05T00:00:00Z, a Monday
            rate: 500.0,
            customers: 20_000,
            products: 2_000,
            skew: 0.5,
            pace: 1.0,
            disorder: 0.0,
            late_by: Millis(60_000),
            duplicates: 0.0,
        }
    }
}

/// Think time between two events of a visit in milliseconds at pace 1: log-normal.
const THINK_MEDIAN_MS: f64 = 12_000.0;
const THINK_SIGMA: f64 = 1.0;

/// Chance to sign in at an event, for a customer that the shop does not know yet.
const SIGN_IN: f64 = 0.03;

/// Most unseen events of a visit that is in progress at the start.
const PAST_STEPS_MAX: u32 = 60;

/// The shop as an endless stream of records in the order of arrival.
pub struct Shop {
    settings: ShopSettings,
    assortment: Assortment,
    rng: fastrand::Rng,
    /// Visits in progress by their next instant; the number breaks ties in a fixed way.
    visits: BinaryHeap<Reverse<(Timestamp, u64, u32)>>,
    /// Slots of `visits`.
    slots: Vec<Visit>,
    free: Vec<u32>,
    next_visit: Timestamp,
    /// What is left in the cart of a customer between visits.
    carts: HashMap<u32, Vec<(u32, u32)>>,
    /// One bit per customer: present in a visit now.
    present: Bits,
    /// One bit per customer: has signed in (traits and consent were sent).
    known: Bits,
    /// Made and not yet due, by arrival.
    waiting: BinaryHeap<Reverse<Waiting>>,
    number: u64,
    orders: u64,
    made: u64,
    /// Reused between steps.
    scratch: Vec<Body>,
}

#[derive(PartialEq, Eq)]
struct Waiting {
    arrival: Timestamp,
    number: u64,
    record: ShopRecord,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.arrival, self.number).cmp(&(other.arrival, other.number))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Shop {
    /// Opens the shop with the visits in progress that its rate implies, so that the first second is like any other.
    pub fn new(settings: ShopSettings) -> Shop {
        let mut shop = Shop {
            assortment: Assortment::new(settings.products.max(1)),
            rng: fastrand::Rng::with_seed(settings.seed),
            visits: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            next_visit: settings.start,
            carts: HashMap::new(),
            present: Bits::new(settings.customers.max(1)),
            known: Bits::new(settings.customers.max(1)),
            waiting: BinaryHeap::new(),
            number: 0,
            orders: 0,
            made: 0,
            scratch: Vec::new(),
            settings,
        };
        // Little's law: visits in progress = rate x mean gap. What remains of a visit that one meets is a part of a long one.
        let mean_gap_s = THINK_MEDIAN_MS / 1_000.0 * (THINK_SIGMA * THINK_SIGMA / 2.0).exp() / shop.settings.pace;
        let present = (shop.settings.rate * mean_gap_s).min(f64::from(shop.settings.customers) * 0.5) as u32;
        for _ in 0..present {
            let whole = visit::length_of_met(&mut shop.rng);
            let past = (f64::from(whole) * shop.rng.f64()) as u32;
            let at = shop.settings.start + Millis((shop.rng.f64() * mean_gap_s * 1_000.0) as i64);
            shop.open_visit(at, whole, past.min(PAST_STEPS_MAX));
        }
        shop.schedule_visit(shop.settings.start);
        shop
    }

    pub fn assortment(&self) -> &Assortment {
        &self.assortment
    }

    pub fn settings(&self) -> &ShopSettings {
        &self.settings
    }

    /// Changes the rate from here on.
    pub fn set_rate(&mut self, rate: f64) {
        self.settings.rate = rate.max(0.1);
    }

    /// Arrival of the next record.
    pub fn next_arrival(&mut self) -> Timestamp {
        self.prepare();
        self.waiting.peek().map_or(Timestamp::MAX, |Reverse(w)| w.arrival)
    }

    /// Moves the shop on until the earliest waiting record cannot be overtaken any more.
    fn prepare(&mut self) {
        loop {
            let visit = self.visits.peek().map_or(Timestamp::MAX, |Reverse((at, _, _))| *at);
            let next = visit.min(self.next_visit);
            // What is made at `next` or later arrives at `next` at the earliest.
            if self.waiting.peek().is_some_and(|Reverse(w)| w.arrival <= next) {
                return;
            }
            if self.next_visit <= visit {
                let at = self.next_visit;
                let length = visit::length(&mut self.rng);
                self.open_visit(at, length, 0);
                self.schedule_visit(at);
            } else if let Some(Reverse((at, _, slot))) = self.visits.pop() {
                self.step(at, slot);
            }
        }
    }

    /// The next visit comes after an exponential gap, shorter while the shop is behind its rate.
    fn schedule_visit(&mut self, from: Timestamp) {
        let s = &self.settings;
        let mean_s = visit::MEAN_EVENTS / s.rate;
        let elapsed_s = (from - s.start).0 as f64 / 1_000.0;
        let behind = (self.made as f64 - s.rate * elapsed_s) / (s.rate * 60.0 / s.pace).max(100.0);
        let gap_s = -self.rng.f64().max(1e-12).ln() * mean_s * (1.0 + behind).clamp(0.2, 5.0);
        self.next_visit = from + Millis((gap_s * 1_000.0) as i64);
    }

    /// `past`: events that happened before the shop was opened; nobody sees them, but the cart is filled.
    fn open_visit(&mut self, at: Timestamp, length: u32, past: u32) {
        // Somebody who is not here already; in a shop where everybody is, the visit does not happen.
        let customer = (0..8)
            .map(|_| skewed(&mut self.rng, self.settings.customers.max(1), self.settings.skew))
            .find(|customer| !self.present.get(*customer));
        let Some(customer) = customer else { return };
        self.present.set(customer, true);
        let cart = self.carts.remove(&customer).unwrap_or_default();
        let mut visit = Visit::new(customer, length, cart);
        let mut unseen = std::mem::take(&mut self.scratch);
        for _ in 0..past {
            if !visit.step(&mut self.rng, &self.assortment, self.settings.skew, &mut self.orders, &mut unseen) {
                visit = Visit::new(customer, length, visit.take_cart());
            }
            unseen.clear();
        }
        self.scratch = unseen;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = visit;
                slot
            }
            None => {
                self.slots.push(visit);
                (self.slots.len() - 1) as u32
            }
        };
        self.number += 1;
        self.visits.push(Reverse((at, self.number, slot)));
    }

    /// One event of a visit, and when its next one comes.
    fn step(&mut self, at: Timestamp, slot: u32) {
        let visit = &mut self.slots[slot as usize];
        let mut bodies = std::mem::take(&mut self.scratch);
        let stays = visit.step(&mut self.rng, &self.assortment, self.settings.skew, &mut self.orders, &mut bodies);
        let customer = visit.customer;
        // Somebody signs in during the visit; from then on the shop knows who it is.
        if !self.known.get(customer) && self.rng.f64() < SIGN_IN {
            self.known.set(customer, true);
            self.push(at, customer, Body::introduction(customer, self.settings.start));
            self.push(at, customer, Body::consent(customer));
        }
        for body in bodies.drain(..) {
            self.push(at, customer, body);
        }
        self.scratch = bodies;
        if stays {
            let think = THINK_MEDIAN_MS * (visit::normal(&mut self.rng) * THINK_SIGMA).exp() / self.settings.pace;
            self.number += 1;
            self.visits.push(Reverse((at + Millis(1 + think as i64), self.number, slot)));
        } else {
            self.present.set(customer, false);
            let cart = self.slots[slot as usize].take_cart();
            if !cart.is_empty() {
                self.carts.insert(customer, cart);
            }
            self.free.push(slot);
        }
    }

    fn push(&mut self, ts: Timestamp, customer: u32, body: Body) {
        let s = &self.settings;
        let late = s.disorder > 0.0 && body.is_event() && self.rng.f64() < s.disorder;
        let arrival = if late { ts + Millis(1 + (self.rng.f64() * s.late_by.0 as f64) as i64) } else { ts };
        let twice = s.duplicates > 0.0 && body.is_event() && self.rng.f64() < s.duplicates;
        self.number += 1;
        self.made += 1;
        let record = ShopRecord { arrival, ts, number: self.made, customer, body };
        if twice {
            let again = arrival + Millis(1 + (self.rng.f64() * s.late_by.0 as f64) as i64);
            let copy = ShopRecord { arrival: again, ..record.clone() };
            self.waiting.push(Reverse(Waiting { arrival: again, number: self.number, record: copy }));
            self.number += 1;
        }
        self.waiting.push(Reverse(Waiting { arrival, number: self.number, record }));
    }
}

impl Iterator for Shop {
    type Item = ShopRecord;

    /// Never ends.
    fn next(&mut self) -> Option<ShopRecord> {
        self.prepare();
        self.waiting.pop().map(|Reverse(w)| w.record)
    }
}

/// A rank below `n` whose density falls with the rank to the power of `skew`.
fn skewed(rng: &mut fastrand::Rng, n: u32, skew: f64) -> u32 {
    let power = 1.0 / (1.0 - skew.clamp(0.0, 0.95));
    ((f64::from(n) * rng.f64().powf(power)) as u32).min(n - 1)
}

struct Bits(Vec<u64>);

impl Bits {
    fn new(n: u32) -> Bits {
        Bits(vec![0; (n as usize).div_ceil(64)])
    }
    fn get(&self, i: u32) -> bool {
        self.0[i as usize / 64] >> (i % 64) & 1 == 1
    }
    fn set(&mut self, i: u32, on: bool) {
        let bit = 1u64 << (i % 64);
        if on {
            self.0[i as usize / 64] |= bit;
        } else {
            self.0[i as usize / 64] &= !bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(settings: ShopSettings, n: usize) -> Vec<ShopRecord> {
        Shop::new(settings).take(n).collect()
    }

    #[test]
    fn equal_seeds_give_equal_records_and_others_do_not() {
        let settings = ShopSettings { disorder: 0.1, duplicates: 0.05, ..ShopSettings::default() };
        let (a, b) = (records(settings.clone(), 5_000), records(settings.clone(), 5_000));
        assert_eq!(a, b);
        assert_ne!(a, records(ShopSettings { seed: 2, ..settings }, 5_000));
    }

    #[test]
    fn records_come_by_arrival_at_about_the_rate_from_the_first_second() {
        let settings = ShopSettings { disorder: 0.2, duplicates: 0.1, rate: 200.0, ..ShopSettings::default() };
        let all = records(settings.clone(), 60_000);
        assert!(all.windows(2).all(|w| w[0].arrival <= w[1].arrival));
        let within = |from: i64, to: i64| {
            let inside = |r: &&ShopRecord| (from * 1_000..to * 1_000).contains(&(r.arrival - settings.start).0);
            all.iter().filter(inside).count() as f64 / (to - from) as f64
        };
        for (from, to) in [(0, 20), (60, 120), (120, 240)] {
            let rate = within(from, to);
            assert!((120.0..330.0).contains(&rate), "{rate} records/s from {from} s to {to} s");
        }
    }

    #[test]
    fn shares_are_those_of_a_shop() {
        let settings = ShopSettings { rate: 2_000.0, customers: 100_000, ..ShopSettings::default() };
        let all = records(settings, 200_000);
        let events = all.iter().filter(|r| r.body.is_event()).count() as f64;
        let share = |name: &str| all.iter().filter(|r| r.body.event_name() == Some(name)).count() as f64 / events;
        let browsing = share("product_viewed") + share("page_viewed") + share("search_performed");
        assert!((0.85..0.95).contains(&browsing), "browsing {browsing}");
        assert!((0.03..0.10).contains(&share("add_to_cart")), "add {}", share("add_to_cart"));
        assert!((0.004..0.03).contains(&share("order_completed")), "order {}", share("order_completed"));
        assert!(share("checkout_started") > share("order_completed"), "some checkouts are dropped");
        assert!(share("remove_from_cart") > 0.001);
    }

    #[test]
    fn late_and_double_records_are_as_many_as_asked() {
        let all = records(ShopSettings { disorder: 0.2, duplicates: 0.1, ..ShopSettings::default() }, 50_000);
        let late = all.iter().filter(|r| r.arrival > r.ts).count() as f64 / 50_000.0;
        assert!((0.15..0.35).contains(&late), "late {late}");
        let mut numbers: Vec<u64> = all.iter().map(|r| r.number).collect();
        numbers.sort_unstable();
        let before = numbers.len();
        numbers.dedup();
        let double = (before - numbers.len()) as f64 / before as f64;
        assert!((0.05..0.13).contains(&double), "double {double}");
    }

    #[test]
    fn skew_makes_few_customers_have_most() {
        let top_share = |skew: f64| {
            let all = records(ShopSettings { skew, customers: 10_000, rate: 20.0, ..ShopSettings::default() }, 30_000);
            all.iter().filter(|r| r.customer < 1_000).count() as f64 / all.len() as f64
        };
        let (even, uneven) = (top_share(0.0), top_share(0.7));
        assert!(even < 0.2 && uneven > 0.35, "{even} {uneven}");
    }
}
