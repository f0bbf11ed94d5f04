using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

// Every signature is blittable, so the runtime has nothing to marshal and can inline the call.
[assembly: DisableRuntimeMarshalling]

// Native libraries are loaded from the system's search path, never from the folder of the assembly.
[assembly: DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
