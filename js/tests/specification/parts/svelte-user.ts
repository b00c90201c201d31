import { writable } from "svelte/store"

export const currentUser = writable({ id: "user_123" })
