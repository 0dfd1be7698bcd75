//! The terminal, taken for a while and given back as it was, whatever happens.

use std::{
    io::{self, Stdout, Write},
    panic,
    sync::Once,
};

use crossterm::{
    cursor::{Hide, MoveTo, Show},
    execute, queue,
    style::Print,
    terminal::{
        self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate,
        EnterAlternateScreen, LeaveAlternateScreen,
    },
};

use super::picture::Line;
use crate::output::cut;

/// A screen of our own.
pub(super) struct Screen {
    out: Stdout,
    colours: bool,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn take() -> io::Result<Self> {
        // A panic's words go to the screen that stays.
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let print = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                give_back();
                print(panic);
            }));
        });
        terminal::enable_raw_mode()?;
        let mut screen =
            Self { out: io::stdout(), colours: std::env::var_os("NO_COLOR").is_none() };
        execute!(screen.out, EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Shows these lines, as far as there is room.
    pub(super) fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        let (width, height) = terminal::size()?;
        queue!(self.out, BeginSynchronizedUpdate)?;
        for row in 0..height {
            queue!(self.out, MoveTo(0, row), Clear(ClearType::CurrentLine))?;
            let Some((line, style)) = lines.get(usize::from(row)) else { continue };
            let line = cut(line, width.into());
            if self.colours {
                queue!(self.out, Print(format_args!("{style}{line}{style:#}")))?;
            } else {
                queue!(self.out, Print(line))?;
            }
        }
        queue!(self.out, EndSynchronizedUpdate)?;
        self.out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Leaves the terminal as it was; more than once does no harm.
fn give_back() {
    let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
    let _ = terminal::disable_raw_mode();
}
