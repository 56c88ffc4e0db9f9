//! What the shop sends: one record of a customer, and its JSON.

use std::io::Write;

use crate::time::{Millis, Timestamp};

/// Which topic a record belongs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    Clickstream,
    Purchases,
    /// Traits and consents.
    Customers,
}

impl Stream {
    pub const ALL: [Stream; 3] = [Stream::Clickstream, Stream::Purchases, Stream::Customers];

    /// Name of the topic in the samples.
    pub fn topic(self) -> &'static str {
        match self {
            Stream::Clickstream => "clickstream",
            Stream::Purchases => "purchases",
            Stream::Customers => "customers",
        }
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShopRecord {
    /// When it reaches the log; later than `ts` where the tracker was slow.
    pub arrival: Timestamp,
    pub ts: Timestamp,
    /// Unique but for records that are sent twice.
    pub number: u64,
    /// Below [`super::ShopSettings::customers`].
    pub customer: u32,
    pub body: Body,
}

/// What happened. **Units:** money in cents of EUR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    PageViewed {
        page: Page,
    },
    SearchPerformed {
        query: &'static str,
        results: u32,
    },
    ProductViewed {
        product: u32,
        category: &'static str,
        price_cents: u32,
    },
    AddToCart {
        product: u32,
        category: &'static str,
        quantity: u32,
        price_cents: u32,
    },
    RemoveFromCart {
        product: u32,
    },
    CheckoutStarted {
        value_cents: u32,
    },
    /// Lines: product, quantity, price of one.
    OrderCompleted {
        order: u64,
        lines: Vec<(u32, u32, u32)>,
    },
    Traits {
        country: &'static str,
        plan: &'static str,
        signed_up_at: Timestamp,
    },
    Consent {
        granted: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    Home,
    Category(&'static str),
    /// By an advertisement; the byte picks the source.
    Landing(u8),
}

const COUNTRIES: &[&str] = &["SE", "SE", "SE", "NO", "DK", "FI", "DE", "DE", "FR", "NL"];
const SOURCES: &[&str] = &["newsletter", "google", "google", "instagram", "tiktok", "partner"];

impl Body {
    /// What the shop knows of a customer at the first visit; follows from the customer alone.
    pub(super) fn introduction(customer: u32, start: Timestamp) -> Body {
        let mut rng = fastrand::Rng::with_seed(u64::from(customer) ^ 0x7472_6169_7473);
        Body::Traits {
            country: COUNTRIES[rng.usize(..COUNTRIES.len())],
            plan: if rng.f64() < 0.2 { "plus" } else { "free" },
            signed_up_at: start - Millis(Millis::DAY.0 * i64::from(rng.u32(..700)) + i64::from(rng.u32(..86_400_000))),
        }
    }

    pub(super) fn consent(customer: u32) -> Body {
        Body::Consent { granted: fastrand::Rng::with_seed(u64::from(customer) ^ 0x0063_6f6e_7365_6e74).f64() < 0.6 }
    }

    /// The event's name, if it is an event.
    pub fn event_name(&self) -> Option<&'static str> {
        Some(match self {
            Body::PageViewed { .. } => "page_viewed",
            Body::SearchPerformed { .. } => "search_performed",
            Body::ProductViewed { .. } => "product_viewed",
            Body::AddToCart { .. } => "add_to_cart",
            Body::RemoveFromCart { .. } => "remove_from_cart",
            Body::CheckoutStarted { .. } => "checkout_started",
            Body::OrderCompleted { .. } => "order_completed",
            Body::Traits { .. } | Body::Consent { .. } => return None,
        })
    }

    pub fn is_event(&self) -> bool {
        self.event_name().is_some()
    }

    pub fn stream(&self) -> Stream {
        match self {
            Body::OrderCompleted { .. } => Stream::Purchases,
            Body::Traits { .. } | Body::Consent { .. } => Stream::Customers,
            _ => Stream::Clickstream,
        }
    }
}

impl ShopRecord {
    /// The customer's id, the key of the record.
    pub fn customer_id(&self) -> String {
        format!("c-{:06}", self.customer)
    }

    /// Appends the record as one line of JSON without a line break; `with_arrival` for files.
    pub fn write_json(&self, with_arrival: bool, out: &mut Vec<u8>) {
        // Writing into memory cannot fail.
        let _ = self.write(with_arrival, out);
    }

    fn write(&self, with_arrival: bool, out: &mut Vec<u8>) -> std::io::Result<()> {
        write!(out, "{{\"id\":\"e-{}\",\"customer\":\"c-{:06}\",", self.number, self.customer)?;
        if let Some(name) = self.body.event_name() {
            write!(out, "\"event\":\"{name}\",")?;
        }
        write!(out, "\"ts\":\"{}\",", self.ts)?;
        if with_arrival && self.arrival != self.ts {
            write!(out, "\"arrival\":\"{}\",", self.arrival)?;
        }
        match &self.body {
            Body::PageViewed { page: Page::Home } => write!(out, "\"properties\":{{\"kind\":\"home\"}}}}"),
            Body::PageViewed { page: Page::Category(category) } => {
                write!(out, "\"properties\":{{\"kind\":\"category\",\"category\":\"{category}\"}}}}")
            }
            Body::PageViewed { page: Page::Landing(pick) } => {
                write!(out, "\"properties\":{{\"kind\":\"landing\",\"utm_source\":\"{}\"}}}}", SOURCES[*pick as usize % SOURCES.len()])
            }
            Body::SearchPerformed { query, results } => {
                write!(out, "\"properties\":{{\"query\":\"{query}\",\"results\":{results}}}}}")
            }
            Body::ProductViewed { product, category, price_cents } => write!(
                out,
                "\"properties\":{{\"product_id\":\"p-{product}\",\"category\":\"{category}\",\"price\":\"{}\",\"currency\":\"EUR\"}}}}",
                Cents(*price_cents)
            ),
            Body::AddToCart { product, category, quantity, price_cents } => write!(
                out,
                "\"properties\":{{\"product_id\":\"p-{product}\",\"category\":\"{category}\",\"quantity\":{quantity},\"price\":\"{}\",\"currency\":\"EUR\"}}}}",
                Cents(*price_cents)
            ),
            Body::RemoveFromCart { product } => write!(out, "\"properties\":{{\"product_id\":\"p-{product}\"}}}}"),
            Body::CheckoutStarted { value_cents } => {
                write!(out, "\"properties\":{{\"value\":\"{}\",\"currency\":\"EUR\"}}}}", Cents(*value_cents))
            }
            Body::OrderCompleted { order, lines } => {
                let total = lines.iter().map(|(_, quantity, price)| quantity * price).sum();
                write!(out, "\"properties\":{{\"order_id\":\"o-{order}\",\"total\":\"{}\",\"currency\":\"EUR\",\"lines\":[", Cents(total))?;
                for (i, (product, quantity, price)) in lines.iter().enumerate() {
                    let comma = if i > 0 { "," } else { "" };
                    write!(out, "{comma}{{\"product_id\":\"p-{product}\",\"quantity\":{quantity},\"price\":\"{}\"}}", Cents(*price))?;
                }
                write!(out, "]}}}}")
            }
            Body::Traits { country, plan, signed_up_at } => {
                write!(out, "\"traits\":{{\"country\":\"{country}\",\"plan\":\"{plan}\",\"signed_up_at\":\"{signed_up_at}\"}}}}")
            }
            Body::Consent { granted } => {
                write!(out, "\"consent\":{{\"purpose\":\"email_marketing\",\"granted\":{granted}}}}}")
            }
        }
    }
}

struct Cents(u32);

impl std::fmt::Display for Cents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

#[cfg(test)]
mod tests {

    #[test]
    fn every_record_is_json_with_the_outer_fields() {
        let settings = super::super::ShopSettings { disorder: 0.3, ..Default::default() };
        let mut seen = std::collections::BTreeSet::new();
        for record in super::super::Shop::new(settings).take(20_000) {
            let mut line = Vec::new();
            record.write_json(true, &mut line);
            let value: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
            assert_eq!(value["customer"], record.customer_id());
            assert_eq!(value["ts"], record.ts.to_string());
            assert_eq!(value.get("arrival").is_some(), record.arrival != record.ts);
            let things = ["event", "traits", "consent"].iter().filter(|k| value.get(**k).is_some()).count();
            assert_eq!(things, 1, "{value}");
            seen.insert(record.body.event_name().unwrap_or(record.body.stream().topic()));
        }
        assert_eq!(seen.len(), 8, "every kind occurs: {seen:?}");
    }
}
