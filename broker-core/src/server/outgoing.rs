//! Answers on their way out: encoded parts, and runs of the log that are written as they lie in memory.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Most answers are smaller.
const USUAL_BYTES: usize = 256;

/// One answer while it is put together.
#[derive(Debug)]
pub(super) struct Answer {
    encoded: BytesMut,
    /// What is put in, uncopied, and where.
    runs: Vec<(usize, Bytes)>,
}

impl Answer {
    /// An answer that starts with its length, which is filled in at the end, and its header.
    pub fn new(correlation: i32, tags: bool) -> Self {
        let mut encoded = BytesMut::with_capacity(USUAL_BYTES);
        encoded.put_i32(0);
        encoded.put_i32(correlation);
        if tags {
            encoded.put_u8(0);
        }
        Self { encoded, runs: Vec::new() }
    }

    /// Where encoded bytes go.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.encoded
    }

    /// Puts in bytes that are not copied.
    pub fn attach(&mut self, run: Bytes) {
        if !run.is_empty() {
            self.runs.push((self.encoded.len(), run));
        }
    }

    fn finish(mut self) -> impl Iterator<Item = Bytes> {
        let size = self.encoded.len() + self.runs.iter().map(|(_, run)| run.len()).sum::<usize>() - 4;
        self.encoded[..4].copy_from_slice(&(size as i32).to_be_bytes());
        let encoded = self.encoded.freeze();
        let mut from = 0;
        let mut parts = Vec::with_capacity(2 * self.runs.len() + 1);
        for (at, run) in self.runs {
            parts.push(encoded.slice(from..at));
            parts.push(run);
            from = at;
        }
        parts.push(encoded.slice(from..));
        parts.into_iter().filter(|part| !part.is_empty())
    }
}

/// Answers that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    parts: VecDeque<Bytes>,
    bytes: usize,
}

impl Outgoing {
    /// Bytes behind their length, that are no answer to a request.
    pub fn push_frame(&mut self, bytes: &[u8]) {
        let mut frame = BytesMut::with_capacity(4 + bytes.len());
        frame.put_i32(bytes.len() as i32);
        frame.put_slice(bytes);
        self.bytes += frame.len();
        self.parts.push_back(frame.freeze());
    }

    pub fn push(&mut self, answer: Answer) {
        for part in answer.finish() {
            self.bytes += part.len();
            self.parts.push_back(part);
        }
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&[], |part| part)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(&self.parts);
        filled.map(|(slice, part)| *slice = IoSlice::new(part)).count()
    }

    fn advance(&mut self, mut count: usize) {
        self.bytes -= count;
        while let Some(front) = self.parts.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_its_length_and_keeps_its_order() {
        let mut outgoing = Outgoing::default();
        let mut first = Answer::new(7, true);
        first.buffer().put_u8(1);
        first.attach(Bytes::from_static(b"run"));
        first.attach(Bytes::new());
        first.buffer().put_u8(2);
        first.attach(Bytes::from_static(b"end"));
        outgoing.push(first);
        outgoing.push(Answer::new(8, false));
        let expected = b"\0\0\0\x0d\0\0\0\x07\0\x01run\x02end\0\0\0\x04\0\0\0\x08";
        assert_eq!(outgoing.remaining(), expected.len());
        for step in [1, 2, 5, 7] {
            let mut some = Outgoing { parts: outgoing.parts.clone(), bytes: outgoing.bytes };
            let mut read = Vec::new();
            while some.has_remaining() {
                let count = step.min(some.chunk().len());
                read.extend_from_slice(&some.chunk()[..count]);
                some.advance(count);
            }
            assert_eq!(read, expected, "{step} at a time");
        }
    }
}
