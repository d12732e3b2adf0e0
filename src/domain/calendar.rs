//! placeholder until merge
use std::collections::BTreeMap;
use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};
use schemars::JsonSchema;
use super::period::Zone;
use super::time::{Interval, IntervalSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weekday { Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday }

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DayHours { pub day: Weekday, pub from: String, pub to: String }

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calendar {
    pub name: String,
    pub version: i32,
    pub weekend: Vec<Weekday>,
    pub holidays: BTreeMap<NaiveDate, String>,
    #[serde(default)]
    pub working_hours: Vec<DayHours>,
}
impl Calendar {
    pub fn is_working_day(&self, day: NaiveDate) -> bool {
        let w = match day.weekday().num_days_from_monday() {0=>Weekday::Monday,1=>Weekday::Tuesday,2=>Weekday::Wednesday,3=>Weekday::Thursday,4=>Weekday::Friday,5=>Weekday::Saturday,_=>Weekday::Sunday};
        !self.weekend.contains(&w) && !self.holidays.contains_key(&day)
    }
    pub fn nth_working_day_after(&self, day: NaiveDate, n: u32) -> Option<NaiveDate> {
        let mut day = day; let mut left = n; let mut tries = 0;
        while left > 0 { day = day.succ_opt()?; tries += 1; if tries > 20_000 { return None; } if self.is_working_day(day) { left -= 1; } }
        Some(day)
    }
    pub fn working_time(&self, _zone: Zone, _span: Interval) -> IntervalSet { IntervalSet::empty() }
}

impl Calendar {
    pub fn of_hours(hours: Vec<DayHours>) -> Self { Calendar { name: String::new(), version: 0, weekend: Vec::new(), holidays: BTreeMap::new(), working_hours: hours } }
}
pub fn wrong_hours(_h: &[DayHours]) -> Vec<(usize, String)> { Vec::new() }
impl Calendar { pub fn check(&self) -> Vec<super::refusal::FieldError> { Vec::new() } }
