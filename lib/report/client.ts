/**
 * What runs in the report's page, after uPlot: draws the charts of the page's data. Plain JavaScript
 * of 2020, as it is not compiled. When done, `data-charts` of the document says how many there are.
 */
export const client = `
'use strict';
(() => {
  const { epochs, charts, best } = JSON.parse(document.getElementById('data').textContent);
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const colors = [color('--first'), color('--second')];
  const axis = { stroke: color('--text'), grid: { stroke: color('--line') }, ticks: { stroke: color('--line') } };
  const format = (value) => (value == null ? '-' : String(Number(value.toPrecision(5))));
  const whole = (u, values) => values.map((v) => (Number.isInteger(v) ? String(v) : ''));

  // A line at the epoch with the lowest validation loss.
  const markBest = (u) => {
    if (best === null) return;
    const x = Math.round(u.valToPos(best, 'x', true));
    const { ctx } = u;
    ctx.save();
    ctx.strokeStyle = color('--mark');
    ctx.setLineDash([4, 4]);
    ctx.beginPath();
    ctx.moveTo(x, u.bbox.top);
    ctx.lineTo(x, u.bbox.top + u.bbox.height);
    ctx.stroke();
    ctx.restore();
  };

  for (const { title, log, series } of charts) {
    const place = document.createElement('div');
    document.getElementById('charts').append(place);
    const options = {
      title,
      width: 480,
      height: 260,
      // Lines alone would not show a single epoch.
      series: [
        { label: 'epoch' },
        ...series.map(({ label }, i) => ({
          label,
          stroke: colors[i % colors.length],
          width: 2,
          points: { show: epochs.length < 60 },
          value: (u, v) => format(v),
        })),
      ],
      scales: { x: { time: false }, y: log ? { distr: 3 } : {} },
      axes: [{ ...axis, values: whole }, { ...axis, size: 70, values: (u, values) => values.map((v) => (v == null ? '' : format(v))) }],
      hooks: { draw: [markBest] },
    };
    const plot = new uPlot(options, [epochs, ...series.map(({ values }) => values)], place);
    const fit = () => plot.setSize({ width: Math.max(280, place.clientWidth), height: 260 });
    fit();
    addEventListener('resize', fit);
  }
  // uPlot draws in a microtask.
  setTimeout(() => { document.documentElement.dataset.charts = String(charts.length); });
})();
`;
