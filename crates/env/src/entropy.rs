//! Chance as a tree of seeds.
//!
//! A child depends on its name and its parent only: a new user of chance moves nobody else's
//! draws. ChaCha8 is portable and stays the same between releases, unlike a library's default
//! generator.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng, TryRngCore};

/// A source of chance.
#[derive(Debug, Clone)]
pub struct Entropy {
    seed: u64,
    generator: ChaCha8Rng,
}

impl Entropy {
    /// The root of a tree that repeats exactly.
    pub fn from_seed(seed: u64) -> Self {
        Self { seed, generator: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// The root of a tree seeded by the operating system.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub fn from_system() -> Result<Self, rand_core::OsError> {
        Ok(Self::from_seed(rand_core::OsRng.try_next_u64()?))
    }

    /// The branch called `name`.
    pub fn child(&self, name: &str) -> Self {
        // FNV-1a over the name, mixed with the parent's seed: a label, not a secret.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self::from_seed(self.seed.rotate_left(17) ^ hash)
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.generator.next_u64()
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A whole number in `0..bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.bits() % bound }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_name_give_the_same_draws() {
        let draws = |seed: u64, name: &str| {
            let mut branch = Entropy::from_seed(seed).child(name);
            [branch.bits(), branch.bits()]
        };
        assert_eq!(draws(1, "fetch/jitter"), draws(1, "fetch/jitter"));
        assert_ne!(draws(1, "fetch/jitter"), draws(1, "fetch/other"));
        assert_ne!(draws(1, "fetch/jitter"), draws(2, "fetch/jitter"));
    }

    #[test]
    fn a_unit_is_below_one() {
        let mut entropy = Entropy::from_seed(7);
        assert!((0..1000).all(|_| (0.0..1.0).contains(&entropy.unit())));
    }
}
