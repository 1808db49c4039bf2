// What the verdicts on a group say, as `bulklink.finding.sample_check` and the command say it.

const LOWER = { sure: "likely", likely: "look" };
const NOUNS = { attach: "attachments", move: "moves", detach: "detachments" };

const checkGroup = (group, verdicts) => {
  const counts = { right: 0, wrong: 0, unsure: 0 };
  let skipped = 0;
  for (const verdict of verdicts) {
    if (verdict) {
      counts[verdict] += 1;
      counts.unsure += skipped;
      skipped = 0;
    } else skipped += 1;
  }
  const checked = counts.right + counts.wrong + counts.unsure;
  const notRight = counts.wrong + counts.unsure;
  const right = group.proposed - maxWrong(group.proposed, checked, notRight);
  let becomes = group.tier;
  while (
    becomes in group.rejecting &&
    exceeds(group.proposed, checked, counts.wrong, group.rejecting[becomes])
  )
    becomes = LOWER[becomes];
  return {
    ...counts,
    drawn: verdicts.length,
    checked,
    atLeast: Math.floor((right * 10000) / group.proposed),
    needed:
      group.proving === null ? null : leastSample(group.proposed, notRight, group.proving),
    becomes,
  };
};

const proof = (group, result) => {
  if (group.promise === null || result.becomes !== group.tier) return "";
  const promise = `the promise of ${group.promise}`;
  if (result.needed === null) return `; no sample proves ${promise} any more`;
  if (result.checked && result.needed <= result.checked) return `, which proves ${promise}`;
  const further = result.wrong || result.unsure ? "a further" : "an";
  return `; ${count(result.needed)} without ${further} error would prove ${promise}`;
};

const describe = (group, result) => {
  const name = `${group.tier}, ${group.kind}: `;
  const of = `of ${count(group.proposed)}`;
  if (!result.checked) return `${name}${count(result.drawn)} ${of} drawn${proof(group, result)}.`;
  const unsure = result.unsure ? `, ${count(result.unsure)} unsure or skipped` : "";
  const bound = (Math.floor(result.atLeast / 10) / 10).toFixed(1);
  return (
    `${name}${count(result.checked)} ${of} checked, ${count(result.wrong)} wrong${unsure}:` +
    ` at least ${bound}% right at 95 % confidence${proof(group, result)}.`
  );
};

const describeDemotion = (group, result) =>
  result.becomes === group.tier
    ? ""
    : `That is less than ${group.tier} promises: ${NOUNS[group.kind]} that were ${group.tier}` +
      ` would be ${result.becomes}.`;
