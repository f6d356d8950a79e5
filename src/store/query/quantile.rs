//! Classes of numbers for percentiles: 64 for each power of two.
//!
//! A percentile read from the classes is never too low and at most 1/64 too high. Bound: 3,776 classes.

/// The class of a number; classes are in the order of their numbers.
pub(super) fn class_of(n: u64) -> u64 {
    if n < STEPS {
        return n;
    }
    let exponent = u64::from(n.ilog2()) - STEPS_LOG;
    (exponent + 1) * STEPS + ((n >> exponent) - STEPS)
}

/// The greatest number of a class.
pub(super) fn greatest_of(class: u64) -> u64 {
    if class < STEPS {
        return class;
    }
    let exponent = class / STEPS - 1;
    let step = class % STEPS + STEPS;
    (step << exponent) + ((1 << exponent) - 1)
}

/// The percentile (nearest rank) of counted classes in ascending order; 0 when there are none.
pub(super) fn percentile(classes: impl Iterator<Item = (u64, u64)> + Clone, percent: u64) -> u64 {
    let total: u64 = classes.clone().map(|(_, count)| count).sum();
    let rank = (u128::from(total) * u128::from(percent)).div_ceil(100);
    let mut seen = 0_u128;
    for (class, count) in classes {
        seen += u128::from(count);
        if seen >= rank {
            return greatest_of(class);
        }
    }
    0
}

const STEPS_LOG: u64 = 6;
const STEPS: u64 = 1 << STEPS_LOG;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_class_holds_its_number_and_little_more(n in prop_oneof![any::<u64>(), 0..10_000_u64]) {
            let greatest = greatest_of(class_of(n));
            prop_assert!(greatest >= n);
            prop_assert!(greatest - n <= n / 64);
            prop_assert_eq!(class_of(greatest), class_of(n));
        }

        #[test]
        fn classes_keep_the_order(a: u64, b: u64) {
            prop_assert!((a > b) <= (class_of(a) >= class_of(b)));
        }

        #[test]
        fn percentiles_agree_with_sorting(mut numbers in proptest::collection::vec(0..5_000_000_u64, 1..200)) {
            numbers.sort_unstable();
            let exact = numbers[(numbers.len() * 95).div_ceil(100) - 1];
            let found = percentile(numbers.iter().map(|n| (class_of(*n), 1)), 95);
            prop_assert!(found >= exact && found - exact <= exact / 64, "{} for {}", found, exact);
        }
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(percentile(std::iter::empty(), 95), 0);
        assert_eq!(class_of(u64::MAX), 3_775);
    }
}
