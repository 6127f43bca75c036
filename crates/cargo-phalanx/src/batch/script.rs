//! A script that is made from another one, line by line.

use anyhow::{Result, bail};

pub struct Script {
    lines: Vec<String>,
}

impl Script {
    pub fn from(template: &str) -> Script {
        Script { lines: template.lines().map(str::to_owned).collect() }
    }

    /// Puts `line` in the place of the one that begins so.
    pub fn set(&mut self, start: &str, line: impl Into<String>) -> Result<()> {
        let position = self.find(start)?;
        self.lines[position] = line.into();
        Ok(())
    }

    pub fn remove(&mut self, start: &str) -> Result<()> {
        let position = self.find(start)?;
        self.lines.remove(position);
        Ok(())
    }

    /// Adds a line before the one that begins so.
    pub fn before(&mut self, start: &str, line: impl Into<String>) -> Result<()> {
        let position = self.find(start)?;
        self.lines.insert(position, line.into());
        Ok(())
    }

    /// Puts `line` in the place of those from the first to the last one.
    pub fn set_all(&mut self, first: &str, last: &str, line: impl Into<String>) -> Result<()> {
        let begin = self.find(first)?;
        let Some(length) = self.lines[begin..].iter().position(|line| line == last) else {
            bail!("the template has no line `{last}` after `{first}`");
        };
        self.lines.splice(begin..=begin + length, [line.into()]);
        Ok(())
    }

    fn find(&self, start: &str) -> Result<usize> {
        match self.lines.iter().position(|line| line.starts_with(start)) {
            Some(position) => Ok(position),
            None => bail!("the template has no line that begins with `{start}`"),
        }
    }

    pub fn text(&self) -> String {
        let mut text = self.lines.join("\n");
        text.push('\n');
        text
    }
}
