//! One visit: a customer browses, adds, removes, checks out, orders or leaves.

use super::assortment::Assortment;
use super::record::{Body, Page};
use super::skewed;

/// Mean events of a visit, as it comes out of [`length`] and of visits that end with an order.
pub(super) const MEAN_EVENTS: f64 = 15.5;

const LENGTH_MEDIAN: f64 = 6.0;
const LENGTH_SIGMA: f64 = 1.46;
const LENGTH_MAX: f64 = 500.0;

/// A customer in the shop.
#[derive(Clone, Debug, Default)]
pub(super) struct Visit {
    pub(super) customer: u32,
    left: u32,
    begun: bool,
    /// Product just looked at: what is added is what was seen.
    seen: Option<u32>,
    checking_out: bool,
    /// (product, quantity)
    cart: Vec<(u32, u32)>,
}

/// Events of a visit: log-normal, median 6, at most 500.
pub(super) fn length(rng: &mut fastrand::Rng) -> u32 {
    (LENGTH_MEDIAN * (normal(rng) * LENGTH_SIGMA).exp()).clamp(1.0, LENGTH_MAX) as u32
}

/// Length of a visit that one meets in progress: long ones are met more often.
pub(super) fn length_of_met(rng: &mut fastrand::Rng) -> u32 {
    (LENGTH_MEDIAN * (LENGTH_SIGMA * LENGTH_SIGMA + normal(rng) * LENGTH_SIGMA).exp()).clamp(1.0, LENGTH_MAX) as u32
}

/// A standard normal number.
///
/// **Source:** Box and Muller, "A Note on the Generation of Random Normal Deviates" (1958).
pub(super) fn normal(rng: &mut fastrand::Rng) -> f64 {
    (-2.0 * rng.f64().max(1e-300).ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos()
}

impl Visit {
    pub(super) fn new(customer: u32, length: u32, cart: Vec<(u32, u32)>) -> Visit {
        Visit { customer, left: length.max(1), cart, ..Visit::default() }
    }

    pub(super) fn take_cart(&mut self) -> Vec<(u32, u32)> {
        std::mem::take(&mut self.cart)
    }

    /// Appends one event; returns whether the customer stays.
    pub(super) fn step(
        &mut self,
        rng: &mut fastrand::Rng,
        assortment: &Assortment,
        skew: f64,
        orders: &mut u64,
        out: &mut Vec<Body>,
    ) -> bool {
        self.left -= 1;
        if self.checking_out {
            self.checking_out = false;
            // A third of all checkouts is dropped: the cart stays, the customer mostly leaves.
            if rng.f64() < 0.68 {
                *orders += 1;
                let lines: Vec<(u32, u32, u32)> =
                    self.cart.drain(..).map(|(p, quantity)| (p, quantity, assortment.product(p).price_cents)).collect();
                out.push(Body::OrderCompleted { order: *orders, lines });
                return self.left > 0 && rng.f64() < 0.4;
            }
            if rng.f64() < 0.7 {
                out.push(Body::PageViewed { page: Page::Home });
                return false;
            }
        }
        if !self.begun {
            self.begun = true;
            let body = match rng.f64() {
                x if x < 0.35 => Body::PageViewed { page: Page::Landing(rng.u8(..)) },
                x if x < 0.55 => Body::PageViewed { page: Page::Home },
                x if x < 0.70 => self.search(rng, assortment, skew),
                _ => self.view(rng, assortment, skew),
            };
            out.push(body);
            return self.left > 0;
        }
        let body = match (self.seen, rng.f64()) {
            (Some(product), x) if x < 0.098 => self.add(rng, assortment, product),
            (_, x) if x < 0.125 && !self.cart.is_empty() => {
                let value = self.cart.iter().map(|(p, q)| assortment.product(*p).price_cents * q).sum();
                self.checking_out = true;
                // Whoever checks out sees it through, however long the visit was meant to be.
                self.left = self.left.max(1);
                Body::CheckoutStarted { value_cents: value }
            }
            (_, x) if x < 0.138 && !self.cart.is_empty() => {
                let (product, _) = self.cart.swap_remove(rng.usize(..self.cart.len()));
                Body::RemoveFromCart { product }
            }
            (_, x) if x < 0.26 => self.search(rng, assortment, skew),
            (_, x) if x < 0.38 => {
                self.seen = None;
                Body::PageViewed { page: Page::Category(assortment.product(skewed(rng, assortment.len(), skew)).category) }
            }
            _ => self.view(rng, assortment, skew),
        };
        out.push(body);
        self.left > 0
    }

    fn view(&mut self, rng: &mut fastrand::Rng, assortment: &Assortment, skew: f64) -> Body {
        // People come back to what they have in the cart.
        let product = match self.cart.last() {
            Some((product, _)) if rng.f64() < 0.15 => *product,
            _ => skewed(rng, assortment.len(), skew),
        };
        self.seen = Some(product);
        let p = assortment.product(product);
        Body::ProductViewed { product, category: p.category, price_cents: p.price_cents }
    }

    fn search(&mut self, rng: &mut fastrand::Rng, assortment: &Assortment, skew: f64) -> Body {
        self.seen = None;
        let category = assortment.product(skewed(rng, assortment.len(), skew)).category;
        let results = if rng.f64() < 0.08 { 0 } else { 1 + rng.u32(..120) };
        Body::SearchPerformed { query: Assortment::query(category), results }
    }

    fn add(&mut self, rng: &mut fastrand::Rng, assortment: &Assortment, product: u32) -> Body {
        let quantity = if rng.f64() < 0.85 { 1 } else { 2 };
        match self.cart.iter_mut().find(|(p, _)| *p == product) {
            Some((_, n)) => *n += quantity,
            None => self.cart.push((product, quantity)),
        }
        self.seen = None;
        let p = assortment.product(product);
        Body::AddToCart { product, category: p.category, quantity, price_cents: p.price_cents }
    }
}
