//! The name that was probably meant.

/// The candidate with the fewest differing letters; case and underscores do not count, so that `groupId` means `group_id`.
pub fn nearest<'c>(word: &str, candidates: &[&'c str]) -> &'c str {
    let plain = |text: &str| text.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect::<Vec<_>>();
    let word = plain(word);
    candidates.iter().min_by_key(|candidate| distance(&word, &plain(candidate))).copied().unwrap_or_default()
}

/// How many letters must be added, dropped or changed.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn misspelt_names_find_what_was_meant() {
        let keys = ["topic", "topics", "group_id", "ack_mode", "concurrency"];
        for (word, expected) in
            [("topc", "topic"), ("groupId", "group_id"), ("concurency", "concurrency"), ("ackmod", "ack_mode")]
        {
            assert_eq!(nearest(word, &keys), expected);
        }
    }
}
