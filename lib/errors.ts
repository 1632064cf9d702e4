import type { QuantizationReport } from './quantization/report.js';

/** What went wrong, for programs; the message says it for people. */
export type ErrorCode =
  | 'ERR_SHAPE'
  | 'ERR_DTYPE'
  | 'ERR_ARGUMENT'
  | 'ERR_CLOSED'
  | 'ERR_BUSY'
  | 'ERR_ABORTED'
  | 'ERR_FILE_FORMAT'
  | 'ERR_DEVICE'
  | 'ERR_OUT_OF_MEMORY'
  | 'ERR_NUMERIC';

/**
 * The class of every error of this library, whether TypeScript or native code throws it. The message
 * reads "expected X for `name`, received Y". Errors of the file system (`ENOENT`, ...) and of a
 * user's own callbacks pass through as they are.
 */
export class TandemError extends Error {
  override readonly name = 'TandemError';
  readonly code: ErrorCode;
  /**
   * With ERR_NUMERIC in training: the step that met, or would meet, a number that is not finite. From
   * 0, over all calls of fit and step, as callbacks and schedulers count. Undefined otherwise.
   */
  declare readonly step?: number;
  /** With ERR_NUMERIC of a model that loses too much by quantization: what is known of it. */
  declare readonly report?: QuantizationReport;

  constructor(
    code: ErrorCode,
    message: string,
    options?: ErrorOptions & { step?: number; report?: QuantizationReport },
  ) {
    super(message, options);
    this.code = code;
    if (options?.step !== undefined) this.step = options.step;
    if (options?.report !== undefined) this.report = options.report;
  }
}
