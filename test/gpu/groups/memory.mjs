// What happens when the device's memory is used up, and that what is closed gives it back.
import { spawnSync } from 'node:child_process';
import { adam, dense, sequential } from 'tandem-ml';
import { runScript } from '../../faults/support.mjs';
import { check, device, end, ensure, fails, onDevice, onGpu, trainerOn } from '../support.mjs';

const model = (units = 8) => sequential([dense(units), dense(2)], { input: [4], seed: 1 });
const options = { loss: 'mse', optimizer: adam() };
const rows = (count) => ({
  x: new Float32Array(count * 4).fill(0.5),
  y: new Float32Array(count * 2),
});

/** MiB in use on the first GPU; of this process where the system tells, which it does not in containers. */
function used() {
  const query = ['--query-gpu=memory.used', '--format=csv,noheader,nounits', '--id=0'];
  const { stdout, error } = spawnSync('nvidia-smi', query, { encoding: 'utf8' });
  return error ? Number.NaN : Number.parseInt(stdout, 10);
}

await check('memoryLimit', async (t) => {
  const first = trainerOn(t, model(), options);
  await first.step(rows(8));
  const memoryLimit = first.profile().memory.total;
  const trainer = trainerOn(t, model(), { ...options, memoryLimit });
  const error = await fails('ERR_OUT_OF_MEMORY', () => trainer.step(rows(20000)), 'a large step');
  await trainer.step(rows(8));
  return error.message;
});

/** Values that no GPU holds: a row has 2^16 of them, and the result is one number a row. */
if (onGpu) {
  await check('a step that no GPU has memory for, and then a small one', async (t) => {
    const wide = sequential([dense(65536, { activation: 'tanh' }), dense(2)], { input: [4] });
    const trainer = trainerOn(t, wide, options);
    const error = await fails(
      'ERR_OUT_OF_MEMORY',
      () => trainer.step(rows(700000)),
      'a large step',
    );
    await trainer.step(rows(8));
    onDevice(trainer.profile());
    const other = trainerOn(t, model(), options);
    await other.step(rows(8));
    return error.message;
  });

  await check('TANDEM_CUDA_MEMORY_LIMIT', async () => {
    const script = `
      import { adam, dense, sequential, Trainer } from 'tandem-ml';
      const make = (units) => {
        const net = sequential([dense(units), dense(2)], { input: [64] });
        return new Trainer(net, { loss: 'mse', optimizer: adam(), device: '${device}' });
      };
      const data = { x: new Float32Array(64 * 8), y: new Float32Array(16) };
      let code;
      try { await make(100000).step(data); } catch (error) { code = error.code + ' ' + error.message; }
      console.log(code);
      await make(8).step(data);
      console.log('went on');`;
    process.env.TANDEM_CUDA_MEMORY_LIMIT = String(64 * 2 ** 20);
    const { status, signal, stdout, stderr } = await runScript(script, { bare: true });
    delete process.env.TANDEM_CUDA_MEMORY_LIMIT;
    const told = `${signal ?? status}: ${stdout} ${stderr.slice(-2000)}`;
    ensure(status === 0 && /^ERR_OUT_OF_MEMORY [^\n]*\nwent on\n$/.test(stdout), told);
    return stdout.split('\n')[0];
  });
}

await check('200 trainers and predictors leave nothing behind', async (t) => {
  const once = async () => {
    const net = model(2048);
    const context = { teardown: () => {} };
    const trainer = trainerOn(context, net, options);
    await trainer.step(rows(256));
    await trainer.close();
  };
  trainerOn(t, model(), options);
  for (let i = 0; i < 10; i++) await once();
  const before = { device: used(), rss: process.memoryUsage.rss() };
  const start = performance.now();
  for (let i = 0; i < 200; i++) await once();
  const each = (performance.now() - start) / 200;
  const grown = used() - before.device;
  const rss = (process.memoryUsage.rss() - before.rss) / 2 ** 20;
  const told = `${grown} MiB of the device, ${rss.toFixed(1)} MiB of the host, ${each.toFixed(1)} ms each`;
  ensure(
    !onGpu || Number.isFinite(grown),
    'nvidia-smi, which says what the device holds, is missing',
  );
  ensure(!onGpu || grown <= 16, told);
  // models that are no longer used wait for the garbage collector
  ensure(rss < 200, told);
  return told;
});
end();
