import { native } from './native.js';

/** The version of the native engine. */
export const version: string = native.version;
