//! What the shop sells. Everything follows from a product's number, so nothing is stored but the table.

/// A product on offer. **Units:** price in cents of EUR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    pub category: &'static str,
    pub price_cents: u32,
}

/// All products, by number.
#[derive(Clone, Debug)]
pub struct Assortment {
    products: Vec<Product>,
}

/// Category, least price and typical span in cents, and what people search to find it.
const CATEGORIES: &[(&str, u32, u32, &str)] = &[
    ("shoes", 3_900, 9_000, "running shoes"),
    ("sneakers", 5_900, 11_000, "white sneakers"),
    ("jackets", 5_900, 18_000, "rain jacket"),
    ("shirts", 1_500, 4_500, "linen shirt"),
    ("trousers", 2_900, 7_000, "chino"),
    ("dresses", 3_500, 9_000, "summer dress"),
    ("bags", 2_500, 12_000, "backpack"),
    ("watches", 4_900, 26_000, "diver watch"),
    ("sport", 1_200, 8_000, "yoga mat"),
    ("outdoor", 2_500, 22_000, "tent two persons"),
    ("home", 900, 6_000, "table lamp"),
    ("beauty", 700, 3_500, "face cream"),
];

impl Assortment {
    pub fn new(n: u32) -> Assortment {
        let product = |i: u32| {
            let mut rng = fastrand::Rng::with_seed(u64::from(i) ^ 0x5e65_6d65_6e74_6420);
            let (category, least, span, _) = CATEGORIES[rng.usize(..CATEGORIES.len())];
            // Most are near the least price, a few are dear.
            let price = least + (f64::from(span) * rng.f64().powi(2)) as u32;
            Product { category, price_cents: price / 100 * 100 + 90 }
        };
        Assortment { products: (0..n).map(product).collect() }
    }

    pub fn len(&self) -> u32 {
        self.products.len() as u32
    }

    pub fn is_empty(&self) -> bool {
        self.products.is_empty()
    }

    /// The product of a number below [`Assortment::len`].
    pub fn product(&self, number: u32) -> Product {
        self.products[number as usize]
    }

    /// What somebody types who looks for things of a category.
    pub(super) fn query(category: &str) -> &'static str {
        CATEGORIES.iter().find(|(name, ..)| *name == category).map_or("sale", |(.., query)| query)
    }
}
