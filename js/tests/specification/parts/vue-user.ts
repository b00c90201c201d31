import { ref } from "vue"

export const currentUser = ref({ id: "user_123" })
