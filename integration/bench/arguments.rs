//! What a benchmark is called with.

/// The arguments, without the one that cargo adds for every benchmark.
pub(crate) fn arguments() -> impl Iterator<Item = String> {
    std::env::args().filter(|argument| argument != "--bench")
}
