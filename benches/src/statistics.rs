//! What is made of many measured times.

/// Seconds per iteration of one contestant, a number for each round.
pub type Times = Vec<f64>;

/// The middle of some numbers.
pub fn median(numbers: &[f64]) -> f64 {
    let sorted = sorted(numbers);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// Where the true middle lies with a probability of 95 %, whatever the distribution: between two of
/// the sorted numbers.
pub fn interval(numbers: &[f64]) -> (f64, f64) {
    let sorted = sorted(numbers);
    let n = sorted.len() as f64;
    let reach = 1.96 * n.sqrt() / 2.0;
    let low = (n / 2.0 - reach).floor().max(0.0) as usize;
    let high = ((n / 2.0 + reach).ceil() as usize).min(sorted.len() - 1);
    (sorted[low], sorted[high])
}

fn sorted(numbers: &[f64]) -> Vec<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}
