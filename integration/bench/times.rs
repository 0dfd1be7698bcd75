//! Measured times and what is read from them.

#![allow(dead_code, reason = "each benchmark uses its part of this")]

/// Seconds, or other measured values, in the order they were taken.
#[derive(Default)]
pub(crate) struct Times(Vec<f64>);

impl Times {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.0
    }

    /// The value that this share of the values does not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a place among a few thousand values"
        )]
        let place = (share * (sorted.len() - 1) as f64).round() as usize;
        sorted[place]
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The median, with the least and the most, of seconds.
    pub(crate) fn text(&self) -> String {
        let [least, median, most] = [0.0, 0.5, 1.0].map(|share| self.quantile(share));
        let digits = if median < 0.1 { 4 } else { 2 };
        format!("{median:.digits$} ({least:.digits$} to {most:.digits$})")
    }
}
