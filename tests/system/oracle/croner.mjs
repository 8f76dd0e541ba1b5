// Answers triples from stdin by croner, one line each: the triple, and the first
// two slots after the instant with the zone's offset from UTC there, in minutes.
// What it said is croner.tsv, so that tests need no node. To make it anew:
//
//	cd EMPTY-FOLDER && npm install croner && cp .../tests/system/oracle/croner.mjs .
//	(cd .../tests/system && python3 -m oracle.triples 3000) |
//	  node croner.mjs > .../tests/system/oracle/croner.tsv
import { Cron } from "croner";
import { readFileSync } from "node:fs";

const version = JSON.parse(readFileSync(
	new URL("package.json", import.meta.resolve("croner").replace(/dist\/.*/, "")))).version;

function offsetAt(zone, date) {
	const text = new Intl.DateTimeFormat("en", { timeZone: zone, timeZoneName: "longOffset" })
		.formatToParts(date).find((part) => part.type === "timeZoneName").value;
	const [, sign, hours, minutes] = /^GMT(?:([+-])(\d\d):(\d\d))?$/.exec(text);
	return sign ? Number(`${sign}1`) * (hours * 60 + Number(minutes)) : 0;
}

console.log(`# croner ${version}, IANA ${process.versions.tz}`);
for (const line of readFileSync(0, "utf8").trimEnd().split("\n")) {
	const [expression, zone, at] = line.split("\t");
	let slots;
	try {
		const cron = new Cron(expression,
			{ timezone: zone, paused: true, sloppyRanges: true, fixedTimeRule: "no-wildcard" });
		slots = cron.nextRuns(2, new Date(at * 1000)).map((d) =>
			`${d.getTime() / 1000}@${offsetAt(zone, d)}`).join(" ");
	} catch (error) {
		slots = `refused: ${error.message.split("\n")[0]}`;
	}
	console.log(`${line}\t${slots}`);
}
