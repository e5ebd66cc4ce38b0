//! A date and time of day that the caller supplies, formatted as Python's `strftime` does on Linux in the C locale.

use std::fmt::Write;

/// A moment in local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Year.
    pub year: i32,
    /// 1..=12.
    pub month: u8,
    /// 1..=31.
    pub day: u8,
    /// 0..=23.
    pub hour: u8,
    /// 0..=59.
    pub minute: u8,
    /// 0..=60.
    pub second: u8,
    /// 0..=999_999.
    pub microsecond: u32,
}

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl LocalTime {
    /// Midnight of a day.
    pub fn date(year: i32, month: u8, day: u8) -> Self {
        LocalTime { year, month, day, hour: 0, minute: 0, second: 0, microsecond: 0 }
    }

    /// The moment `seconds` after 1970-01-01 00:00 UTC, in a zone that is `utc_offset` seconds east of Greenwich.
    pub fn from_unix(seconds: i64, utc_offset: i32) -> Self {
        let local = seconds.saturating_add(utc_offset.into());
        let (days, rest) = (local.div_euclid(86_400), local.rem_euclid(86_400));
        // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days: years that begin in March.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        LocalTime {
            year: (year_of_era + era * 400 + i64::from(month <= 2)) as i32,
            month: month as u8,
            day: (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u8,
            hour: (rest / 3_600) as u8,
            minute: (rest / 60 % 60) as u8,
            second: (rest % 60) as u8,
            microsecond: 0,
        }
    }

    /// Day of the year, from 1.
    fn ordinal(&self) -> i32 {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        const BEFORE: [i32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let month = usize::from(self.month.clamp(1, 12));
        BEFORE[month - 1] + i32::from(self.day) + i32::from(leap && month > 2)
    }

    /// Day of the week, Sunday = 0.
    fn weekday(&self) -> i32 {
        let before = i64::from(self.year) - 1;
        let days = before * 365 + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) + i64::from(self.ordinal());
        days.rem_euclid(7) as i32
    }

    /// ISO 8601 year and week.
    fn iso_week(&self) -> (i32, i32) {
        let monday_based = (self.weekday() + 6) % 7;
        let week = (self.ordinal() - 1 - monday_based + 10) / 7;
        let last = |year: i32| {
            let december = LocalTime::date(year, 12, 31).weekday();
            let before = LocalTime::date(year - 1, 12, 31).weekday();
            if december == 4 || before == 3 { 53 } else { 52 }
        };
        match week {
            0 => (self.year - 1, last(self.year - 1)),
            53 if last(self.year) == 52 => (self.year + 1, 1),
            _ => (self.year, week),
        }
    }

    /// `strftime`. An unknown directive stays as it is.
    pub fn format(&self, format: &str) -> String {
        let mut out = String::with_capacity(format.len() + 16);
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut directive = chars.next();
            // glibc's flags: - no padding, _ spaces, 0 zeros, ^ upper case.
            let mut flag = None;
            while let Some(f @ ('-' | '_' | '0' | '^')) = directive {
                flag = Some(f);
                directive = chars.next();
            }
            match directive {
                Some(d) => self.directive(&mut out, d, flag),
                None => out.push('%'),
            }
        }
        out
    }

    fn directive(&self, out: &mut String, directive: char, flag: Option<char>) {
        let hour12 = match self.hour % 12 {
            0 => 12,
            h => h,
        };
        let month = MONTHS[usize::from(self.month.clamp(1, 12)) - 1];
        let weekday = self.weekday();
        let day = DAYS[weekday as usize];
        let number = |value: i32, width: usize, pad: char| {
            let pad = match flag {
                Some('_') => ' ',
                Some('0') => '0',
                _ => pad,
            };
            let digits = value.to_string();
            let fill = if flag == Some('-') { 0 } else { width.saturating_sub(digits.len()) };
            format!("{}{digits}", pad.to_string().repeat(fill))
        };
        let text = match directive {
            'a' => day[..3].to_owned(),
            'A' => day.to_owned(),
            'b' | 'h' => month[..3].to_owned(),
            'B' => month.to_owned(),
            'c' => self.format("%a %b %e %H:%M:%S %Y"),
            'C' => number(self.year.div_euclid(100), 2, '0'),
            'd' => number(self.day.into(), 2, '0'),
            'D' | 'x' => self.format("%m/%d/%y"),
            'e' => number(self.day.into(), 2, ' '),
            'f' => format!("{:06}", self.microsecond),
            'F' => self.format("%Y-%m-%d"),
            'g' => number(self.iso_week().0.rem_euclid(100), 2, '0'),
            'G' => self.iso_week().0.to_string(),
            'H' => number(self.hour.into(), 2, '0'),
            'I' => number(hour12.into(), 2, '0'),
            'j' => number(self.ordinal(), 3, '0'),
            'k' => number(self.hour.into(), 2, ' '),
            'l' => number(hour12.into(), 2, ' '),
            'm' => number(self.month.into(), 2, '0'),
            'M' => number(self.minute.into(), 2, '0'),
            'n' => "\n".into(),
            'p' => if self.hour < 12 { "AM" } else { "PM" }.into(),
            'P' => if self.hour < 12 { "am" } else { "pm" }.into(),
            'r' => self.format("%I:%M:%S %p"),
            'R' => self.format("%H:%M"),
            'S' => number(self.second.into(), 2, '0'),
            't' => "\t".into(),
            'T' | 'X' => self.format("%H:%M:%S"),
            'u' => if weekday == 0 { 7 } else { weekday }.to_string(),
            'U' => number((self.ordinal() + 6 - weekday) / 7, 2, '0'),
            'V' => number(self.iso_week().1, 2, '0'),
            'w' => weekday.to_string(),
            'W' => number((self.ordinal() + 6 - (weekday + 6) % 7) / 7, 2, '0'),
            'y' => number(self.year.rem_euclid(100), 2, '0'),
            'Y' => self.year.to_string(),
            // A naive datetime has no zone: Python prints nothing.
            'z' | 'Z' => String::new(),
            '%' => "%".into(),
            other => format!("%{other}"),
        };
        // Writing to a String cannot fail.
        let _ = match flag {
            Some('^') => write!(out, "{}", text.to_uppercase()),
            _ => write!(out, "{text}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_weeks_as_python_counts_them() {
        // Python: (datetime(1970, 1, 1) + timedelta(seconds=s)).strftime("%F %T %j %U %W %V %G %a %I%p")
        for (seconds, want) in [
            (429, "1970-01-01 00:07:09 001 00 00 01 1970 Thu 12AM"),
            (951782829, "2000-02-29 00:07:09 060 09 09 09 2000 Tue 12AM"),
            (1104451629, "2004-12-31 00:07:09 366 52 52 53 2004 Fri 12AM"),
            (1104538029, "2005-01-01 00:07:09 001 00 00 53 2004 Sat 12AM"),
            (1136074029, "2006-01-01 00:07:09 001 01 00 52 2005 Sun 12AM"),
            (1230509229, "2008-12-29 00:07:09 364 52 52 01 2009 Mon 12AM"),
            (1262477229, "2010-01-03 00:07:09 003 01 00 53 2009 Sun 12AM"),
            (1451520429, "2015-12-31 00:07:09 365 52 52 53 2015 Thu 12AM"),
            (1451779629, "2016-01-03 00:07:09 003 01 00 53 2015 Sun 12AM"),
            (1609373229, "2020-12-31 00:07:09 366 52 52 53 2020 Thu 12AM"),
            (1609632429, "2021-01-03 00:07:09 003 01 00 53 2020 Sun 12AM"),
            (1709165229, "2024-02-29 00:07:09 060 08 09 09 2024 Thu 12AM"),
            (1735517229, "2024-12-30 00:07:09 365 52 53 01 2025 Mon 12AM"),
            (1795306029, "2026-11-22 00:07:09 326 47 46 47 2026 Sun 12AM"),
            (-2203890771, "1900-03-01 00:07:09 060 08 09 09 1900 Thu 12AM"),
            (4133894829, "2100-12-31 00:07:09 365 52 52 52 2100 Fri 12AM"),
        ] {
            assert_eq!(LocalTime::from_unix(seconds, 0).format("%F %T %j %U %W %V %G %a %I%p"), want);
            // A zone's offset is no more than a shift.
            assert_eq!(LocalTime::from_unix(seconds - 28_800, 28_800), LocalTime::from_unix(seconds, 0));
        }
        assert_eq!(LocalTime::date(2025, 3, 7).format("%-d.%-m.%y %Q %"), "7.3.25 %Q %");
    }
}
