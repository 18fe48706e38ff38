use std::error::Error as StdError;
use std::fmt;

use crate::client::TopicPartition;

/// Any error.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What a listener returns.
pub type ListenerResult = Result<(), ListenerError>;

/// A listener's failure: takes any error by `?`. The error handler finds the user's own type again, anywhere in the source chain.
pub struct ListenerError(BoxError);

impl ListenerError {
    /// A failure that is only a text.
    pub fn msg(text: impl Into<String>) -> Self {
        Self(Box::<dyn StdError + Send + Sync>::from(text.into()))
    }

    /// Takes a boxed error as it is.
    pub fn from_boxed(error: BoxError) -> Self {
        Self(error)
    }

    /// The error itself.
    pub fn into_inner(self) -> BoxError {
        self.0
    }

    /// The error itself, borrowed.
    pub fn as_error(&self) -> &(dyn StdError + 'static) {
        self.0.as_ref()
    }

    /// The first error of type `E` in the chain: the error itself, its source, and so on.
    pub fn find<E: StdError + 'static>(&self) -> Option<&E> {
        find_in_chain(self.as_error())
    }
}

/// The longest chain of sources that is looked at: an error whose source is itself must not hold a worker up for ever.
const CHAIN_MAX: usize = 64;

/// The first error of type `E` in a chain: the error itself, its source, and so on, 64 at most.
pub fn find_in_chain<'e, E: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e E> {
    chain(error).find_map(|error| error.downcast_ref::<E>())
}

/// An error and its sources.
pub(crate) fn chain<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn StdError + 'static)| (*error).source()).take(CHAIN_MAX)
}

/// The listener's own error, out of what the container put around it to share it between records.
pub(crate) fn own<'e>(error: &'e (dyn StdError + 'static)) -> &'e (dyn StdError + 'static) {
    if let Some(shared) = error.downcast_ref::<SharedError>() {
        return shared.0.as_ref();
    }
    match error.downcast_ref::<ElementRejected>() {
        Some(element) => element.reason(),
        None => error,
    }
}

impl<E: Into<BoxError>> From<E> for ListenerError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Debug for ListenerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for ListenerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A batch listener's failure that names the failed element: what came before it is done, only it counts an attempt.
#[derive(Debug)]
pub struct BatchError {
    index: usize,
    source: BoxError,
}

impl BatchError {
    /// Element `index` of the list that was handed over failed.
    pub fn at(index: usize, error: impl Into<BoxError>) -> Self {
        Self { index, source: error.into() }
    }

    /// Which element failed.
    pub fn index(&self) -> usize {
        self.index
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "element {} of the batch failed: {}", self.index, self.source)
    }
}

impl StdError for BatchError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.source.as_ref())
    }
}

/// An extractor could not take what it wants from a delivery. Never retried: the same bytes fail again.
#[derive(Debug)]
pub struct Rejection {
    message: String,
    place: Option<(TopicPartition, i64)>,
    source: Option<BoxError>,
}

impl Rejection {
    /// A rejection that says what was expected.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, source: None }
    }

    /// The same, with its cause.
    pub fn with_source(message: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { message: message.into(), place: None, source: Some(source.into()) }
    }

    /// Names the record it is about.
    pub fn at(mut self, partition: TopicPartition, offset: i64) -> Self {
        self.place.get_or_insert((partition, offset));
        self
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some((partition, offset)) => write!(f, "{partition}@{offset}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl StdError for Rejection {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn StdError + 'static))
    }
}

/// Elements of a batch that do not decode, and why. The container gives each to the error handler as a record of its own and
/// calls the listener with the rest.
#[derive(Debug)]
pub struct BatchRejection {
    failed: Vec<(usize, Rejection)>,
}

impl BatchRejection {
    /// These elements, by index, in rising order.
    pub fn new(failed: Vec<(usize, Rejection)>) -> Self {
        Self { failed }
    }

    /// Which elements.
    pub fn indexes(&self) -> impl Iterator<Item = usize> {
        self.failed.iter().map(|(index, _)| *index)
    }

    /// Why an element does not decode.
    pub fn rejection(&self, index: usize) -> Option<&Rejection> {
        self.failed.iter().find(|(failed, _)| *failed == index).map(|(_, rejection)| rejection)
    }
}

impl fmt::Display for BatchRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} elements of the batch do not decode", self.failed.len())?;
        match self.failed.first() {
            Some((index, rejection)) => write!(f, ", the first is element {index}: {rejection}"),
            None => Ok(()),
        }
    }
}

impl StdError for BatchRejection {}

/// A listener panicked; the worker goes on.
#[derive(Debug)]
pub struct HandlerPanicked {
    message: String,
}

impl HandlerPanicked {
    /// What `catch_unwind` caught.
    pub fn new(payload: &(dyn std::any::Any + Send)) -> Self {
        Self { message: panic_text(payload).to_owned() }
    }
}

/// What somebody panicked with.
pub(crate) fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a text")
}

impl fmt::Display for HandlerPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the listener panicked: {}", self.message)
    }
}

impl StdError for HandlerPanicked {}

/// One error that several records share.
#[derive(Debug)]
pub(crate) struct SharedError(pub std::sync::Arc<dyn StdError + Send + Sync>);

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl StdError for SharedError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.0.as_ref())
    }
}

/// Why one element of a batch was rejected: the element's own rejection, out of the error that all of them share.
#[derive(Debug)]
pub(crate) struct ElementRejected {
    pub all: std::sync::Arc<dyn StdError + Send + Sync>,
    pub index: usize,
}

impl ElementRejected {
    fn reason(&self) -> &(dyn StdError + 'static) {
        let rejection = find_in_chain::<BatchRejection>(self.all.as_ref()).and_then(|all| all.rejection(self.index));
        rejection.map_or(self.all.as_ref() as &(dyn StdError + 'static), |rejection| rejection)
    }
}

impl fmt::Display for ElementRejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.reason(), f)
    }
}

impl StdError for ElementRejected {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.reason())
    }
}

/// An error and its sources in one line.
pub(crate) fn chain_text(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    for source in chain(error).skip(1) {
        let more = source.to_string();
        // Some errors repeat their source in their own text.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
    }
    text
}

/// The failed element that an error names; `None` for the whole batch. An index outside it is told and taken for the whole.
pub(crate) fn failed_index(error: &(dyn StdError + 'static), count: usize) -> Option<usize> {
    let index = find_in_chain::<BatchError>(error)?.index();
    if index < count {
        return Some(index);
    }
    tracing::warn!(target: "kafka_listener::error", index, count, "the batch error names an element that is not in the batch: the whole batch counts as failed");
    None
}

/// A trait object hides its type, but its `Debug` text mostly starts with the type's name: the text up to the first detail.
/// Empty for an error that is only a text.
pub(crate) fn debug_name(error: &dyn StdError) -> String {
    let mut name = Name(String::new());
    // The error is the writer's own: it has enough, however long the text would be.
    let _ = fmt::write(&mut name, format_args!("{error:?}"));
    name.0
}

/// Takes the first word of what is written, and no more.
struct Name(String);

impl fmt::Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
        self.0.push_str(bounded(&text[..end], NAME_BYTES_MAX));
        if end < text.len() || self.0.len() > NAME_BYTES_MAX { Err(fmt::Error) } else { Ok(()) }
    }
}

const NAME_BYTES_MAX: usize = 256;

/// The text, cut at a character's border when it is longer than this many bytes.
pub(crate) fn bounded(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("declined")]
    struct Declined;

    /// Its source is itself.
    #[derive(Debug)]
    struct Ring;

    impl fmt::Display for Ring {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("ring")
        }
    }

    impl StdError for Ring {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(self)
        }
    }

    #[test]
    fn a_users_error_is_found_through_what_is_around_it() {
        let error = ListenerError::from(BatchError::at(3, Rejection::with_source("bytes", Declined)));
        assert!(error.find::<Declined>().is_some() && error.find::<BatchError>().is_some());
        assert!(error.find::<fmt::Error>().is_none());
        let shared = SharedError(std::sync::Arc::from(error.into_inner()));
        assert!(find_in_chain::<Declined>(&shared).is_some());
        assert_eq!(debug_name(own(&shared)), "BatchError");
    }

    #[test]
    fn a_rejected_element_keeps_its_own_chain() {
        let failed = vec![(1, Rejection::new("no id")), (4, Rejection::with_source("bytes", Declined))];
        let all = BatchRejection::new(failed);
        let all: std::sync::Arc<dyn StdError + Send + Sync> = std::sync::Arc::new(Rejection::with_source(all.to_string(), all));
        let fourth = ElementRejected { all: all.clone(), index: 4 };
        assert!(find_in_chain::<Declined>(&fourth).is_some() && find_in_chain::<Rejection>(&fourth).is_some());
        assert_eq!((fourth.to_string(), chain_text(own(&fourth)).as_str()), ("bytes".to_owned(), "bytes: declined"));
        assert!(find_in_chain::<Declined>(&ElementRejected { all, index: 1 }).is_none());
    }

    #[test]
    fn a_ring_of_sources_ends() {
        assert!(find_in_chain::<Declined>(&Ring).is_none());
        assert_eq!(chain_text(&Ring), "ring");
    }

    #[test]
    fn names_are_the_first_word_of_the_debug_text() {
        let text = ListenerError::msg("3 of them failed");
        let long = "x".repeat(10_000);
        let cases: [(&dyn StdError, &str); 4] = [
            (&Declined, "Declined"),
            (&BatchError::at(0, Declined), "BatchError"),
            (text.as_error(), ""),
            (&fmt::Error, "Error"),
        ];
        for (error, name) in cases {
            assert_eq!(debug_name(error), name);
        }
        assert_eq!((bounded("h\u{e9}", 2), bounded("ab", 9), bounded(&long, 256).len()), ("h", "ab", 256));
    }

    #[test]
    fn an_index_outside_the_batch_is_the_whole_batch() {
        for (index, count, expected) in [(0, 3, Some(0)), (2, 3, Some(2)), (3, 3, None), (0, 0, None), (usize::MAX, 3, None)] {
            let wrapped = Rejection::with_source("around", BatchError::at(index, Declined));
            assert_eq!(failed_index(&wrapped, count), expected, "{index} of {count}");
        }
        assert_eq!(failed_index(&Declined, 3), None);
    }
}
