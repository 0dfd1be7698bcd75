//! Standard input or a file, line by line, without keeping the bus waiting.
//!
//! Terminals, pipes and files are all read by a thread of their own, since a file cannot be waited
//! for; it is only a few pieces ahead of the loader.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::AsFd,
    path::Path,
    thread,
};

use tokio::sync::mpsc::{Receiver, Sender, channel, error::TryRecvError};

/// The lines of the input.
pub(super) struct Input {
    pieces: Receiver<io::Result<Vec<u8>>>,
    /// The piece that is being read, and how far.
    piece: Vec<u8>,
    read: usize,
    line: u64,
    /// How much there is in all, where that can be known.
    size: Option<u64>,
    taken: u64,
}

/// What the input has to offer right now.
#[derive(Debug)]
pub(super) enum Next {
    /// A line and its number, from 1.
    Line(u64, String),
    /// Nothing yet: somebody is still typing.
    Nothing,
    /// Nothing any more.
    End,
}

impl Input {
    /// Starts reading.
    pub(super) fn start() -> Self {
        Self::of(io::stdin(), regular_size())
    }

    /// Starts reading a file.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok(Self::of(file, metadata.is_file().then_some(metadata.len())))
    }

    fn of(mut input: impl Read + Send + 'static, size: Option<u64>) -> Self {
        let (sender, pieces) = channel(4);
        thread::spawn(move || read(&mut input, &sender));
        Self { pieces, piece: Vec::new(), read: 0, line: 0, size, taken: 0 }
    }

    /// The next line if there is one without waiting.
    pub(super) fn next_now(&mut self) -> io::Result<Next> {
        loop {
            if let Some(line) = self.rest_of_piece() {
                return Ok(line);
            }
            match self.pieces.try_recv() {
                Ok(piece) => self.take(piece?),
                Err(TryRecvError::Empty) => return Ok(Next::Nothing),
                Err(TryRecvError::Disconnected) => return Ok(Next::End),
            }
        }
    }

    /// Waits until there is a line or the end. May be cancelled without losing anything.
    pub(super) async fn ready(&mut self) -> io::Result<()> {
        if self.read == self.piece.len()
            && let Some(piece) = self.pieces.recv().await
        {
            self.take(piece?);
        }
        Ok(())
    }

    /// The size of the input if it is a file.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// How many bytes were taken so far.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    fn take(&mut self, piece: Vec<u8>) {
        self.piece = piece;
        self.read = 0;
    }

    fn rest_of_piece(&mut self) -> Option<Next> {
        let rest = self.piece.get(self.read..).filter(|rest| !rest.is_empty())?;
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (line, taken) = match end {
            Some(end) => (&rest[..end], end + 1),
            None => (rest, rest.len()),
        };
        self.line += 1;
        let line = Next::Line(self.line, String::from_utf8_lossy(line).into_owned());
        self.read += taken;
        self.taken += taken as u64;
        Some(line)
    }
}

/// Sends whole lines until the input or the loader ends.
fn read(input: &mut impl Read, to: &Sender<io::Result<Vec<u8>>>) {
    let mut buffer = Vec::new();
    let mut fresh = vec![0; PIECE];
    loop {
        let piece = match input.read(&mut fresh) {
            Ok(0) if buffer.is_empty() => return,
            Ok(0) => Ok(std::mem::take(&mut buffer)),
            Ok(length) => {
                let seen = buffer.len();
                buffer.extend_from_slice(&fresh[..length]);
                let end = buffer[seen..].iter().rposition(|byte| *byte == b'\n');
                match end {
                    Some(end) => {
                        let rest = buffer.split_off(seen + end + 1);
                        Ok(std::mem::replace(&mut buffer, rest))
                    }
                    // A line that does not end is cut, to be refused, rather than kept for ever.
                    None if buffer.len() > PIECE => Ok(std::mem::take(&mut buffer)),
                    None => continue,
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = piece.is_err();
        if to.blocking_send(piece).is_err() || failed {
            return;
        }
    }
}

fn regular_size() -> Option<u64> {
    let file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    let metadata = file.metadata().ok()?;
    metadata.is_file().then_some(metadata.len())
}

/// How much is read at a time: about two thousand lines.
const PIECE: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out what it is told to, one piece a call.
    struct Pieces(Vec<&'static str>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0).as_bytes();
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    fn lines(pieces: &[&'static str]) -> Vec<(u64, String)> {
        let (sender, pieces_in) = channel(64);
        read(&mut Pieces(pieces.to_vec()), &sender);
        drop(sender);
        let mut input =
            Input { pieces: pieces_in, piece: vec![], read: 0, line: 0, size: None, taken: 0 };
        let mut lines = Vec::new();
        while let Next::Line(number, line) = input.next_now().unwrap() {
            lines.push((number, line));
        }
        lines
    }

    #[test]
    fn lines_are_put_together_across_pieces() {
        let expected = [(1, "one".to_owned()), (2, "two".into()), (3, "three".into())];
        assert_eq!(lines(&["on", "e\ntwo\nth", "ree\n"]), expected);
    }

    #[test]
    fn the_last_line_needs_no_end() {
        assert_eq!(lines(&["one\n\nthree"]).last(), Some(&(3, "three".to_owned())));
    }

    #[test]
    fn bytes_that_are_no_text_become_a_line_that_is_refused() {
        let (sender, mut pieces) = channel(4);
        read(&mut &b"add \xff\n"[..], &sender);
        let piece = pieces.blocking_recv().unwrap().unwrap();
        let line = String::from_utf8_lossy(&piece).into_owned();
        assert!(crate::lines::Line::parse(&line, None).is_err());
    }
}
