//! Man pages and completions, made from the words of the command line and checked; `make man` has
//! them written into the folder that `RTMCTL_PAGES` names.

use std::{env, fs, path::Path};

use clap::{Command, CommandFactory};
use clap_complete::env::Shells;
use clap_mangen::Man;

use crate::cli::Cli;

/// The page of a command, and those of the commands below it: file names and texts.
fn pages(command: &Command, pages: &mut Vec<(String, String)>) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .source(format!("rtmd {}", env!("CARGO_PKG_VERSION")))
        .manual("Routing tables");
    let mut page = Vec::new();
    man.render_title(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    man.render_description_section(&mut page).unwrap();
    man.render_options_section(&mut page).unwrap();
    let mut page = String::from_utf8(page).unwrap();
    let below: Vec<&Command> = command.get_subcommands().filter(|it| !it.is_hide_set()).collect();
    if !below.is_empty() {
        page += ".SH COMMANDS\n";
    }
    for command in &below {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let name = command.get_display_name().unwrap();
        page += &format!(".TP\n\\fB{}\\fR(1)\n{}\n", escaped(name), escaped(&about));
    }
    // The text of a help is laid out already.
    let help = command.get_after_long_help().or_else(|| command.get_after_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let mut sections = vec![("NOTES", String::new())];
    for line in help.lines() {
        match line {
            "Examples:" => sections.push(("EXAMPLES", String::new())),
            "Exit status:" => sections.push(("EXIT STATUS", String::new())),
            line => {
                let text = &mut sections.last_mut().unwrap().1;
                *text += &escaped(line);
                text.push('\n');
            }
        }
    }
    for (title, text) in sections.iter().filter(|(_, text)| !text.trim().is_empty()) {
        page += &format!(".SH {title}\n.nf\n{}\n.fi\n", text.trim_end());
    }
    let others = if name == "rtmctl" { "" } else { "\\fBrtmctl\\fR(1), " };
    page += &format!(".SH SEE ALSO\n{others}\\fBrtmd\\fR(8), \\fBip\\-route\\fR(8)\n");
    pages_of(&below, pages);
    pages.push((format!("{name}.1"), page));
}

fn pages_of(commands: &[&Command], all: &mut Vec<(String, String)>) {
    commands.iter().for_each(|command| pages(command, all));
}

/// Text as roff takes it (groff(7), "Escape sequences").
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let begins_like_a_request = text.starts_with(['.', '\'']);
    if begins_like_a_request { format!("\\&{text}") } else { text }
}

fn all_pages() -> Vec<(String, String)> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut all = Vec::new();
    pages(&command, &mut all);
    all
}

/// What a shell reads to complete the words of `rtmctl`: shell, file name.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "rtmctl"), ("zsh", "_rtmctl"), ("fish", "rtmctl.fish")];

fn completion(shell: &str) -> String {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let shell = shells.completer(shell).unwrap();
    shell.write_registration("COMPLETE", "rtmctl", "rtmctl", "rtmctl", &mut script).unwrap();
    String::from_utf8(script).unwrap()
}

#[test]
fn every_command_has_a_page_with_examples() {
    let pages = all_pages();
    let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["rtmctl.1", "rtmctl-routes.1", "rtmctl-static.1", "rtmctl-static-add.1"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    for (name, page) in &pages {
        assert!(page.contains("\n.SH EXAMPLES\n"), "{name} has no examples:\n{page}");
        let odd = |line: &&str| line.starts_with('\'');
        assert_eq!(page.lines().find(odd), None, "{name} would be read as a request");
    }
    if let Some(folder) = env::var_os("RTMCTL_PAGES") {
        let (man, completions) =
            (Path::new(&folder).join("man"), Path::new(&folder).join("completions"));
        for folder in [&man, &completions] {
            let _ = fs::remove_dir_all(folder);
            fs::create_dir_all(folder).unwrap();
        }
        for (name, page) in pages {
            fs::write(man.join(name), page).unwrap();
        }
        for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/man")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), man.join(entry.file_name())).unwrap();
        }
        for (shell, file) in COMPLETIONS {
            fs::write(completions.join(file), completion(shell)).unwrap();
        }
    }
}

#[test]
fn each_shell_is_told_to_ask_rtmctl_itself() {
    for (shell, _) in COMPLETIONS {
        let script = completion(shell);
        assert!(script.contains("COMPLETE") && script.contains("rtmctl"), "{shell}: {script}");
        assert!(!script.contains("/debug/"), "{shell}: {script}");
    }
}

#[test]
fn text_is_not_read_as_requests() {
    assert_eq!(escaped(".SH a\\b-c"), "\\&.SH a\\eb\\-c");
}
