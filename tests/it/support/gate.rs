//! A gate before the disk: the process's fsyncs of journal files wait before it, or fail.
//!
//! A small library in C that the dynamic linker puts between the gateway and the system. It looks at a file: while that
//! is there, `w` in it lets fsyncs of `*.kjl` wait, `f` lets them fail. What waits says so in a second file.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::builder::Builder;
use super::process::run;
use super::{missing, wait_for};

/// The gate of one gateway; open at first.
pub struct Gate {
    /// The file that closes it.
    file: PathBuf,
}

impl Gate {
    /// Puts a gate before a gateway's disk, or says what is missing.
    pub fn before(builder: Builder) -> Option<(Self, Builder)> {
        let folder = builder.folder().to_owned();
        let (source, library) = (folder.join("gate.c"), folder.join("gate.so"));
        std::fs::write(&source, SOURCE).expect("written");
        if Command::new("cc").arg("--version").output().is_err() {
            missing("cc");
            return None;
        }
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).arg("-ldl");
        let made = run(&mut compiler);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let gate = Self { file: folder.join("gate") };
        let builder = builder
            .environment("LD_PRELOAD", library.to_str().expect("UTF-8"))
            .environment("FSYNC_GATE", gate.file.to_str().expect("UTF-8"));
        Some((gate, builder))
    }

    /// From now on fsyncs wait.
    pub fn close(&self) {
        self.set("w");
    }

    /// From now on fsyncs fail.
    pub fn break_down(&self) {
        self.set("f");
    }

    /// From now on fsyncs are what they were.
    pub fn open(&self) {
        let _ = std::fs::remove_file(&self.file);
        let _ = std::fs::remove_file(self.reached());
    }

    /// Waits until an fsync has come to the gate.
    pub fn wait_until_reached(&self) {
        wait_for("an fsync at the gate", || self.reached().exists().then_some(()));
    }

    /// Whole or not at all: the library reads it at any time.
    fn set(&self, word: &str) {
        let _ = std::fs::remove_file(self.reached());
        let fresh = self.file.with_extension("new");
        std::fs::write(&fresh, word).and_then(|()| std::fs::rename(&fresh, &self.file)).expect("the gate");
    }

    fn reached(&self) -> PathBuf {
        reached(&self.file)
    }
}

/// A gateway that is killed leaves nobody waiting; one that ends by itself must not wait for ever.
impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

fn reached(file: &Path) -> PathBuf {
    file.with_extension("reached")
}

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int is_journal(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    return length > 4 && memcmp(path + length - 4, ".kjl", 4) == 0;
}

/* 0: go on; -1: fail. */
static int pass(int fd) {
    const char *gate = getenv("FSYNC_GATE");
    if (!gate || !is_journal(fd)) return 0;
    for (;;) {
        char word = 0;
        int file = open(gate, O_RDONLY | O_CLOEXEC);
        if (file < 0) return 0;
        ssize_t got = read(file, &word, 1);
        close(file);
        if (got != 1) return 0;
        char reached[4200];
        snprintf(reached, sizeof reached, "%s.reached", gate);
        int mark = open(reached, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (mark >= 0) close(mark);
        if (word == 'f') { errno = EIO; return -1; }
        struct timespec moment = { 0, 1000000 };
        nanosleep(&moment, NULL);
    }
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int)) dlsym(RTLD_NEXT, "fsync");
    return pass(fd) < 0 ? -1 : real(fd);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int)) dlsym(RTLD_NEXT, "fdatasync");
    return pass(fd) < 0 ? -1 : real(fd);
}
"#;
